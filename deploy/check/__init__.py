"""`make k8s-check`: are the manifests right, and do they say what the code says? Without a cluster."""
