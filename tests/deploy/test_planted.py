"""Every kind of check finds the error that is its own, and says in which file and field it stands."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.deploy.conftest import Edit, needs_definitions, needs_kubectl

pytestmark = [needs_kubectl, needs_definitions]

BASE, OVERLAYS = "deploy/k8s/base/", "deploy/k8s/overlays/"


class Plant(NamedTuple):
    file: str
    old: str
    new: str
    field: str
    """What the line must have after its file."""
    says: str
    where: str = ""
    """Another file that the finding belongs to."""


PLANTS = [
    # Schemas: Kubernetes' own, and the operators'.
    Plant(BASE + "ingest.yaml", "terminationGracePeriodSeconds:", "terminationGraceSeconds:", "terminationGraceSeconds", "want none"),
    Plant(BASE + "kafka.yaml", "deleteClaim: false", "deleteClam: false", "storage.volumes[0].deleteClam", "want"),
    Plant(BASE + "topics.yaml", "  partitions: 12", "  partition: 12", "spec.partition:", "want none"),
    Plant(BASE + "scaling.yaml", "maxReplicas: 12", 'maxReplicas: "twelve"', "spec.maxReplicas", "twelve"),
    Plant(BASE + "users.yaml", "type: scram-sha-512", "type: scram-sha-51", "spec.authentication.type", "want"),
    Plant(BASE + "clickhouse.yaml", "layout:", "layuot:", "layuot", "want"),
    Plant(BASE + "monitors.yaml", "scrapeTimeout", "scrapeTimout", "scrapeTimout", "want"),
    Plant(BASE + "routes.yaml", "sectionName: pages", "sectionNam: pages", "parentRefs[0].sectionNam", "want"),
    Plant(OVERLAYS + "production/secrets.yaml", "refreshInterval: 1h", "refreshIntervall: 1h", "spec.refreshIntervall", "want"),
    Plant(BASE + "alerts.yaml", "apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n", "apiVersion", "want"),
    Plant(BASE + "metrics.yaml", "periodSeconds: 3\n", "periodSeconds: 3\n            periodSeconds: 4\n", "line", "stands twice"),
    # KEDA, HPA.
    Plant(BASE + "scaling.yaml", "activationThreshold: '1'", "activationTreshold: '1'", "triggers[0].metadata.activationTreshold", "want"),
    Plant(BASE + "scaling.yaml", "type: prometheus", "type: promtheus", "triggers[0].type", "prometheus"),
    Plant(BASE + "scaling.yaml", "maxReplicaCount: 12", "maxReplicaCount: 13", "spec.maxReplicaCount", "want"),
    Plant(BASE + "scaling.yaml", "    name: ingest\n  minReplicas", "    name: metrics\n  minReplicas", "spec.scaleTargetRef.name", "want"),
    Plant(BASE + "scaling.yaml", "    name: gateway\n  minReplicas", "    name: gatway\n  minReplicas", "spec.scaleTargetRef.name", "'gateway'"),
    Plant(BASE + "scaling.yaml", "yumai_metrics_lag_records", "yumai_metrics_lag_record", "metadata.query", "yumai_metrics_lag_records"),
    Plant(OVERLAYS + "trial/scaling.yaml", "maxReplicaCount: 4", "maxReplicaCount: 5", "spec.maxReplicaCount", "want"),
    # Ports and probes.
    Plant(BASE + "ingest.yaml", "path: /health/ready\n              port: http", "path: /health/ready\n              port: htp", "containers[0].readinessProbe.httpGet.port", "want"),
    Plant(BASE + "gateway.yaml", "targetPort: http", "targetPort: web", "spec.ports[0].targetPort", "want"),
    Plant(BASE + "metrics.yaml", "path: /health/ready", "path: /health/live", "readinessProbe.httpGet.path", "want"),
    Plant(BASE + "alerts.yaml", "path: /health/ready", "path: /healthz", "readinessProbe.httpGet.path", "want"),
    Plant(BASE + "metrics.yaml", "containerPort: 8711", "containerPort: 8712", "containers[0].ports[0].containerPort", "want"),
    Plant(BASE + "monitors.yaml", "port: http", "port: metrics", "spec.endpoints[0].port", "want"),
    Plant(BASE + "routes.yaml", "port: 8701", "port: 8702", "backendRefs[0].port", "want"),
    Plant(BASE + "routes.yaml", "- name: ingest\n          port", "- name: ingress\n          port", "backendRefs[0].name", "'ingress'"),
    # Selectors.
    Plant(BASE + "gateway.yaml", "  selector:\n    app.kubernetes.io/name: gateway", "  selector:\n    app.kubernetes.io/name: gatewy", "spec.selector", "want"),
    Plant(BASE + "ingest.yaml", "  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: ingest", "  unhealthyPodEvictionPolicy: AlwaysAllow\n  selector:\n    matchLabels:\n      app.kubernetes.io/name: ingst", "PodDisruptionBudget ingest: spec.selector", "want"),
    Plant(BASE + "network.yaml", "app.kubernetes.io/name: ingest", "app.kubernetes.io/name: ingests", "NetworkPolicy ingest: spec.podSelector", "want"),
    Plant(BASE + "network.yaml", "k8s-app: kube-dns", "k8s-app: dns", "spec.egress[0].to[0]", "want"),
    Plant(BASE + "metrics.yaml", "labelSelector:\n            matchLabels:\n              app.kubernetes.io/name: metrics", "labelSelector:\n            matchLabels:\n              app.kubernetes.io/name: metric", "topologySpreadConstraints[0].labelSelector", "want"),
    Plant(BASE + "ingest.yaml", "matchLabels:\n      app.kubernetes.io/name: ingest\n  strategy", "matchLabels:\n      app.kubernetes.io/name: ingests\n  strategy", "spec.selector.matchLabels", "want"),
    Plant(BASE + "monitors.yaml", "app.kubernetes.io/part-of: yumai", "app.kubernetes.io/part-of: yumia", "spec.selector", "want"),
    # Secrets, settings, environment.
    Plant(BASE + "gateway.yaml", "secretName: identity", "secretName: identities", "volumes[2].secret.secretName", "want"),
    Plant(BASE + "metrics.yaml", "key: writer", "key: writter", "secretKeyRef.key", "want"),
    Plant(BASE + "ingest.yaml", "name: KAFKA_SASL_USERNAME", "name: KAFKA_SASL_USER", "containers[0].env[3].name", "want"),
    Plant(BASE + "settings.yaml", "YUMAI_SESSION_TIMEOUT", "YUMAI_SESION_TIMEOUT", "data.YUMAI_SESION_TIMEOUT", "want"),
    Plant(BASE + "settings.yaml", "ALERTS_REPEAT_AFTER: P14D", "ALERTS_REPEAT_AFTER: 14d", "data.ALERTS_REPEAT_AFTER", "want"),
    Plant(BASE + "settings.yaml", "yumai-kafka-bootstrap:9093", "yumai-kafka-bootstrap:9092", "data.KAFKA_BOOTSTRAP", "want"),
    Plant(BASE + "settings.yaml", "http://ingest:8701", "http://ingest:8710", "data.YUMAI_INGEST_URL", "no port 8710"),
    Plant(BASE + "settings.yaml", "  YUMAI_INGEST_URL:", "  YUMAI_SERVICE_URLS: alerts=http://alerts:8741\n  YUMAI_INGEST_URL:", "data.YUMAI_SERVICE_URLS", "want"),
    Plant("deploy/compose.yaml", "metrics=http://metrics:8711", "metrics=http://metrics:8710", "YUMAI_SERVICE_URLS", "8711"),
    Plant(BASE + "alerts.yaml", "configMapRef:\n                name: settings", "configMapRef:\n                name: setings", "envFrom[0].configMapRef.name", "want"),
    Plant(BASE + "gateway.yaml", "@clickhouse-yumai:8443", "@clickhouse:8443", "containers[0].env[5].value", "want"),
    Plant(OVERLAYS + "production/cluster.yaml", "CLICKHOUSE_CLUSTER: yumai", "CLICKHOUSE_CLUSTER: yumay", "data.CLICKHOUSE_CLUSTER", "want"),
    Plant(OVERLAYS + "production/secrets.yaml", "secretKey: keys.json", "secretKey: key.json", "spec.data[1].secretKey", "want"),
    Plant(BASE + "metrics.yaml", "fieldPath: metadata.name", "fieldPath: metadata.nam", "valueFrom.fieldRef.fieldPath", "want"),
    Plant(BASE + "migrate.yaml", "restartPolicy: OnFailure", "restartPolicy: Always", "restartPolicy", "want"),
    Plant(BASE + "ingest.yaml", "memory: 4Gi", "memory: 4Gb", "resources.limits.memory", "want"),
    Plant(BASE + "scaling.yaml", "prometheus-operated.observability", "prometheus-operated.observabilty", "metadata.serverAddress", "want"),
    Plant(OVERLAYS + "production/secrets.yaml", "secretStoreRef:\n    kind: ClusterSecretStore\n    name: yumai", "secretStoreRef:\n    kind: ClusterSecretStore\n    name: yumia", "spec.secretStoreRef.name", "want"),
    Plant("deploy/compose/prometheus.yaml", "ingest:8701", "ingest:8702", "targets[0]", "ingest:8701"),
    Plant("deploy/compose/otel-collector.yaml", "exporters:\n        - debug", "exporters:\n        - debg", "exporters[0]", "'debug'"),
    # Topics, users, rights.
    Plant(BASE + "platforms.yaml", "name: feed.unipay.v1\n  labels", "name: feed.unipai.v1\n  labels", "KafkaTopic feed.unipai.v1", "is not rendered"),
    Plant(BASE + "topics.yaml", "message.timestamp.type: LogAppendTime", "message.timestamp.type: CreateTime", "spec.config['message.timestamp.type']", "want"),
    Plant(BASE + "topics.yaml", "name: receipts.v1", "name: receipt.v1", "KafkaTopic receipt.v1", "is not rendered"),
    Plant(BASE + "users.yaml", "patternType: literal\n        operations:\n          - Write", "patternType: prefix\n        operations:\n          - Write", "acls[1].resource.patternType", "want"),
    Plant(BASE + "platforms.yaml", "          - Write\n", "          - Write\n          - Read\n", "acls[0].operations", "want"),
    Plant(BASE + "users.yaml", "          - Read\n          - Write\n", "          - All\n", "operations", "want"),
    Plant(BASE + "topics.yaml", "strimzi.io/cluster: yumai", "strimzi.io/cluster: yumei", "labels['strimzi.io/cluster']", "want"),
    Plant(BASE + "kafka.yaml", "min.insync.replicas: 2", "min.insync.replicas: 1", "config['min.insync.replicas']", "want 2"),
    Plant(BASE + "kafka.yaml", "        tls: true", "        tls: false", "listeners[0].tls", "want"),
    # Pods: rights, resources, how they end, what they run.
    Plant(BASE + "alerts.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem", "want"),
    Plant(BASE + "backup.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "securityContext.runAsNonRoot", "want"),
    Plant(BASE + "audit.yaml", "- ALL", "- NET_RAW", "capabilities.drop", "want"),
    Plant(BASE + "metrics.yaml", "terminationGracePeriodSeconds: 120", "terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds", "want"),
    Plant(BASE + "gateway.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "ServiceAccount gateway: automountServiceAccountToken", "want"),
    Plant(BASE + "ingest.yaml", "serviceAccountName: ingest", "serviceAccountName: ingress", "serviceAccountName", "want"),
    Plant(BASE + "gateway.yaml", "maxUnavailable: 1\n  unhealthy", "minAvailable: 3\n  unhealthy", "spec.minAvailable", "want"),
    Plant(BASE + "audit.yaml", "services.maintenance\n                - audit", "services.maintenance\n                - audits", "containers[0].args", "want"),
    Plant(BASE + "alerts.yaml", "- services.alerts", "- services.alert", "containers[0].args[0]", "want"),
    Plant(BASE + "backup.yaml", "30 2 * * *", "30 25 * * *", "spec.schedule", "want"),
    Plant(BASE + "metrics.yaml", "- name: tmp\n              mountPath", "- name: temp\n              mountPath", "volumeMounts[2].name", "want"),
    Plant(BASE + "kustomization.yaml", "newTag: 0.1.0", "newTag: latest", "images[0].newTag", "want"),
    Plant(BASE + "alerts.yaml", "- name: alerts\n          image: yumai", "- name: alerts\n          image: yumay", "containers[0].image", "want"),
    # Networks.
    Plant(BASE + "network.yaml", "port: 8443", "port: 8123", "NetworkPolicy ingest: spec.egress", "want"),
    Plant(BASE + "network.yaml", "- 10.0.0.0/8", "- 10.0.0.0/9", "NetworkPolicy alerts: spec.egress", "want"),
    Plant(BASE + "network.yaml", "- podSelector:\n            matchLabels:\n              app.kubernetes.io/name: metrics", "- podSelector: {}", "NetworkPolicy kafka: spec.ingress", "want"),
    Plant(BASE + "network.yaml", "port: 9404", "port: 9405", "NetworkPolicy kafka: spec.ingress", "want"),
    Plant(OVERLAYS + "production/network.yaml", "cidr: 203.0.113.0/24", "cidr: 203.0.112.0/23", "NetworkPolicy platforms-to-kafka: spec.ingress[0]", "want"),
    Plant(OVERLAYS + "production/listeners.yaml", "cidr: 203.0.113.0/24", "cidr: 0.0.0.0/0", "listeners[1].networkPolicyPeers", "want"),
    # What Kafka and ClickHouse export.
    Plant(BASE + "kafka.yaml", "type: jmxPrometheusExporter", "type: strimziMetricsReporter", "spec.kafka.metricsConfig", "jmxPrometheusExporter"),
    Plant(BASE + "kafka.yaml", "key: jmx-exporter.yaml", "key: jmx.yaml", "configMapKeyRef.key", "jmx-exporter.yaml"),
    Plant(BASE + "kafka.yaml", "lowercaseOutputName: true", "lowercaseOutputName: false", "data['jmx-exporter.yaml']", "want"),
    Plant(BASE + "clickhouse.yaml", "prometheus/asynchronous_metrics: 'true'", "prometheus/asynchronous_metrics: 'false'", "settings['prometheus/asynchronous_metrics']", "want 'true'"),
    Plant(BASE + "clickhouse.yaml", "containerPort: 9363", "containerPort: 9364", "ports[0].containerPort", "want"),
    Plant(BASE + "monitors.yaml", "port: tcp-prometheus", "port: prometheus", "PodMonitor kafka: spec.podMetricsEndpoints[0].port", "tcp-prometheus"),
    Plant(BASE + "monitors.yaml", "clickhouse.altinity.com/chi: yumai", "clickhouse.altinity.com/chi: yumei", "PodMonitor clickhouse: spec.selector", "want"),
    # ClickHouse.
    Plant(BASE + "clickhouse.yaml", "podTemplate: clickhouse", "podTemplate: clickhose", "templates.podTemplate", "'clickhouse'"),
    Plant(BASE + "clickhouse.yaml", "host: keeper-yumai", "host: keeper-yumei", "zookeeper.nodes[0].host", "want"),
    Plant(BASE + "clickhouse.yaml", "clickhouse-users/reader", "clickhouse-user/reader", "users['reader/k8s_secret_password']", "clickhouse-users"),
    # What operators see.
    Plant("deploy/rules.yaml", "yumai_metrics_lag_seconds", "yumai_metrics_lag_second", "groups[0].rules[0].expr", "no metric yumai_metrics_lag_second"),
    Plant(BASE + "rules.yaml", "yumai_canary_sent_total", "yumai_canary_send_total", "expr", "want"),
    Plant("deploy/rules.yaml", 'fault=~"late|wrong"', 'fault=~"latee"', "expr", "fault is never latee"),
    Plant("deploy/rules.yaml", "alert: YumaiFreshnessBurnsFast", "alert: YumaiFreshnessBurnsQuick", "alert", "no runbook"),
    Plant("deploy/dashboards/overview.json", "yumai_metrics_lag_seconds", "yumai_metric_lag_seconds", "expr", "yumai_metrics_lag_seconds"),
    Plant(BASE + "scaling.yaml", 'namespace="yumai"', 'namespace="yumay"', "metadata.query", "namespace is never yumay"),
    Plant("deploy/dashboards/metrics.json", '"uid": "prometheus"', '"uid": "promtheus"', "panels[0].datasource.uid", "'prometheus'"),
    # Values that fit each other.
    Plant(BASE + "scaling.yaml", "metricType: AverageValue", "metricType: AvgValue", "triggers[0].metricType", "AverageValue"),
    Plant(BASE + "scaling.yaml", "averageUtilization: 70", "averageUtilization: 0", "target.averageUtilization", "want"),
    Plant(BASE + "audit.yaml", "timeZone: Asia/Shanghai", "timeZone: Asia/Shanghia", "spec.timeZone", "want"),
    Plant(BASE + "gateway.yaml", "memory: 512Mi", "memory: 2Gi", "resources.requests.memory", "want"),
    Plant(BASE + "alerts.yaml", "sizeLimit: 1Gi", "sizeLimit: 1G1", "emptyDir.sizeLimit", "want"),
    Plant(BASE + "alerts.yaml", "maxSurge: 0\n      maxUnavailable: 1", "maxSurge: 0\n      maxUnavailable: 0", "strategy.rollingUpdate", "want"),
    Plant(BASE + "ingest.yaml", "seconds: 5\n", "seconds: 300\n", "preStop.sleep.seconds", "want 5"),
    Plant(BASE + "ingest.yaml", "unhealthyPodEvictionPolicy: AlwaysAllow", "unhealthyPodEvictionPolicy: Always", "unhealthyPodEvictionPolicy", "want"),
    Plant(BASE + "metrics.yaml", "yumai/kafka: client", "yumai/kafka: clients", "labels['yumai/kafka']", "want"),
    Plant(BASE + "routes.yaml", "value: /v1/\n", "value: /v2/\n", "path.value", "want"),
    Plant(BASE + "kafka.yaml", "topologyKey: topology.kubernetes.io/zone", "topologyKey: topology.kubernetes.io/zon", "rack.topologyKey", "want"),
    Plant(BASE + "kafka.yaml", "podDisruptionBudget:\n        maxUnavailable: 1", "podDisruptionBudget:\n        maxUnavailable: 0", "podDisruptionBudget.maxUnavailable", "want 1"),
    Plant(BASE + "kafka.yaml", "yumai/kafka: client", "yumai/kafka: clients", "networkPolicyPeers[0].podSelector", "want"),
    Plant(BASE + "kafka.yaml", "memory: 12Gi", "memory: 3Gi", "spec.resources.limits.memory", "want"),
    Plant(BASE + "clickhouse.yaml", "pdbMaxUnavailable: 1", "pdbMaxUnavailable: 0", "pdbMaxUnavailable", "want"),
    Plant(BASE + "clickhouse.yaml", "clickhouse.altinity.com/chi: yumai", "clickhouse.altinity.com/chi: yumei", "topologySpreadConstraints[0].labelSelector", "want"),
    Plant(BASE + "clickhouse.yaml", "keeper_server/tcp_port: '2181'", "keeper_server/tcp_port: '2182'", "settings['keeper_server/tcp_port']", "2181"),
    Plant(OVERLAYS + "production/cluster.yaml", "CLICKHOUSE_INSERT_QUORUM: auto", 'CLICKHOUSE_INSERT_QUORUM: "3"', "data.CLICKHOUSE_INSERT_QUORUM", "want"),
    Plant(BASE + "backup.yaml", "S3(backups,", "S3(backup,", "env[5].value", "want"),
    Plant(BASE + "clickhouse.yaml", "storage: 1Ti", "storage: 1Tb", "requests.storage", "want"),
    Plant(BASE + "clickhouse.yaml", "clickhouse/clickhouse-server:26.8", "clickhouse/clickhouse-sever:26.8", "containers[0].image", "clickhouse-server"),
    # Releases, and settings that a promise rests on.
    Plant(BASE + "kafka.yaml", "    version: 4.3.1\n", "", "spec.kafka.version", "want '4.3.1'"),
    Plant(BASE + "kafka.yaml", "metadataVersion: 4.3-IV0", "metadataVersion: 4.2-IV1", "spec.kafka.metadataVersion", "want '4.3-IV0'"),
    Plant(BASE + "kafka.yaml", "offsets.retention.minutes: 5256000", "offsets.retention.minutes: 10080", "config['offsets.retention.minutes']", "want 5256000"),
    Plant(BASE + "clickhouse.yaml", "clickhouse-server:26.8.22.13", "clickhouse-server:26.8", "podTemplates[0].spec.containers[0].image", "want"),
    Plant(BASE + "clickhouse.yaml", "clickhouse-keeper:26.8.22.13", "clickhouse-keeper:26.8.19.9", "podTemplates[0].spec.containers[0].image", "want"),
    Plant(BASE + "clickhouse.yaml", "      default/deduplicate_insert: disable\n", "", "profiles['default/deduplicate_insert']", "want 'disable'"),
    Plant(BASE + "clickhouse.yaml", "default/async_insert: '0'", "default/async_insert: '1'", "profiles['default/async_insert']", "want '0'"),
    Plant("deploy/compose.yaml", "apache/kafka:4.3.1", "apache/kafka:4.3", "services.kafka.image", "want"),
    Plant("deploy/compose.yaml", "clickhouse-server:26.8.22.13", "clickhouse-server:latest", "services.clickhouse.image", "want"),
    Plant("deploy/compose.yaml", "      KAFKA_OFFSETS_RETENTION_MINUTES: 5256000\n", "", "environment.KAFKA_OFFSETS_RETENTION_MINUTES", "is missing"),
    Plant("deploy/compose.yaml", "KAFKA_MESSAGE_MAX_BYTES: 16777216", "KAFKA_MESSAGE_MAX_BYTES: 1048576", "environment.KAFKA_MESSAGE_MAX_BYTES", "want"),
    Plant("deploy/compose.yaml", ":/etc/clickhouse-server/users.d/inserts.yaml:ro", ":/etc/clickhouse-server/inserts.yaml:ro", "services.clickhouse.volumes", "clickhouse-inserts.yaml"),
    Plant("deploy/compose/clickhouse-inserts.yaml", "deduplicate_insert_select:", "deduplicate_inserts_select:", "profiles.default.deduplicate_insert_select", "want 'disable'"),
    Plant(BASE + "kafka.yaml", "size: 500Gi", "size: 500GB", "volumes[0].size", "want"),
    # Compose, Containerfile, kustomization.
    Plant("deploy/compose.yaml", "apache/kafka:4.3.1", "apache/kafak:4.3.1", "services.kafka.image", "docker.io/apache/kafka"),
    Plant("deploy/compose.yaml", "--config=/etc/otelcol/config.yaml", "--config=/etc/otelcol/conf.yaml", "services.otel-collector.command", "want"),
    Plant("deploy/compose.yaml", "PLAINTEXT://kafka:9092", "PLAINTEXT://broker:9092", "environment.KAFKA_ADVERTISED_LISTENERS", "broker:9092"),
    Plant("deploy/compose.yaml", "KAFKA_MESSAGE_MAX_BYTES", "KAFKA_MESAGE_MAX_BYTES", "environment.KAFKA_MESAGE_MAX_BYTES", "want"),
    Plant("deploy/compose.yaml", "127.0.0.1:8123/ping", "127.0.0.1:8124/ping", "services.clickhouse.healthcheck.test", "8124"),
    Plant("deploy/compose.yaml", "CLICKHOUSE_USER: yumai", "CLICKHOUSE_USER: writer", "services.clickhouse.environment.CLICKHOUSE_USER", "'yumai'"),
    Plant("deploy/compose.yaml", "stop_grace_period: 120s", "stop_grace_period: 20s", "services.metrics.stop_grace_period", "want"),
    Plant("deploy/compose.yaml", ":/etc/prometheus/rules.yaml", ":/etc/prometheus/rule.yaml", "services.prometheus.volumes", "want"),
    Plant("deploy/compose/otel-collector.yaml", "0.0.0.0:4318", "0.0.0.0:4319", "protocols.http.endpoint", "4318"),
    Plant("deploy/compose/grafana/dashboards/yumai.yaml", "/var/lib/grafana/dashboards", "/var/lib/grafana/boards", "providers[0].options.path", "want"),
    Plant("deploy/Containerfile", "YUMAI_WORK_DIR=", "YUMAI_WORKDIR=", "ENV YUMAI_WORKDIR", "YUMAI_WORK_DIR"),
    Plant(BASE + "network.yaml", "  name: clickhouse\n", "  name: clickhouse\n  namespace: kafka\n", "metadata.namespace", "want"),
    Plant(BASE + "kustomization.yaml", "namespace: yumai", "namespace: yumay", "namespace", "'yumai'"),
    Plant(OVERLAYS + "production/kustomization.yaml", "- name: alerts", "- name: alert", "replicas[0].name", "want"),
    Plant(OVERLAYS + "trial/kustomization.yaml", "kind: KafkaTopic", "kind: KafkaTopics", "patches[3].target", "want"),
    Plant(OVERLAYS + "production/spread.yaml", "value: topology.kubernetes.io/zone", "value: kubernetes.io/hostname", "[0].value", "want"),
    Plant("deploy/compose.yaml", "condition: service_healthy", "condition: service_health", "services.migrate.depends_on.kafka.condition", "service_healthy"),
    Plant("deploy/compose.yaml", "YUMAI_PORT: 8711", "YUMAI_PORT: 8710", "services.metrics.environment.YUMAI_PORT", "8711"),
    Plant("deploy/compose.yaml", "CLICKHOUSE_DSN:", "CLICKHOUSE_DNS:", "environment.CLICKHOUSE_DNS", "CLICKHOUSE_DSN"),
    Plant("deploy/compose.yaml", "    stop_grace_period: 120s", "    stop_grace_perod: 120s", "services.metrics.stop_grace_perod", "want none"),
    Plant("deploy/Containerfile", "USER 10001:10001", "USER yumai", "USER", "want 10001:10001"),
    Plant(BASE + "kustomization.yaml", "  - audit.yaml\n", "", "resources", "audit.yaml"),
    Plant(OVERLAYS + "trial/kustomization.yaml", "  - path: entries.yaml", "  - path: entrys.yaml", "patches[4].path", "want"),
    # By what they mean, though a table said so too: the check is no comparison with what is rendered.
    Plant(BASE + "routes.yaml", "request: 60s", "request: 60ms", "rules[0].timeouts.request", "an answer may take 60 s"),
    Plant(BASE + "routes.yaml", "request: 60s", "request: 60s\n        backendRequest: 90s", "rules[0].timeouts", "longer than request"),
    Plant(BASE + "routes.yaml", "value: /v1/stream\n", "value: /v1/streams\n", "path.value", "answers nothing there"),
    Plant(BASE + "backup.yaml", "schedule: 30 2 * * *", "schedule: '* 2 * * *'", "spec.schedule", "starts it every 60 s"),
    Plant(BASE + "audit.yaml", "schedule: 17 * * * *", "schedule: '*/20 * * * *'", "spec.schedule", "may take 3000 s"),
    Plant(BASE + "kafka.yaml", "type: scram-sha-512", "type: scram-sha-256", "authentication.type", "clients come with scram-sha-512"),
    Plant(BASE + "users.yaml", "type: scram-sha-512", "type: tls", "authentication.type", "clients come with scram-sha-512"),
    Plant(BASE + "kafka.yaml", "deleteClaim: false", "deleteClaim: true", "storage.volumes[0]", "the log would go"),
    Plant(BASE + "settings.yaml", "YUMAI_SESSION_TIMEOUT: '10'", "YUMAI_SESSION_TIMEOUT: '10000'", "data.YUMAI_SESSION_TIMEOUT", "want 6 to 60 s"),
    Plant(BASE + "settings.yaml", "ALERTS_REPEAT_AFTER: P14D", "ALERTS_REPEAT_AFTER: PT14S", "data.ALERTS_REPEAT_AFTER", "want 86400"),
    Plant(BASE + "settings.yaml", "YUMAI_HOST: 0.0.0.0", "YUMAI_HOST: 127.0.0.1", "data.YUMAI_HOST", "nobody else would reach it"),
    Plant(BASE + "settings.yaml", "http://ingest:8701", "https://ingest:8701", "data.YUMAI_INGEST_URL", "TLS is spoken at 8443"),
    Plant(BASE + "settings.yaml", "SASL_SSL", "SASL_PLAINTEXT", "data.KAFKA_SECURITY_PROTOCOL", "only to this machine"),
    Plant(BASE + "metrics.yaml", "memory: 8Gi", "memory: 256Mi", "resources.limits.memory", "metrics needs 500 Mi"),
    Plant(BASE + "ingest.yaml", "memory: 4Gi", "memory: 1Gi", "resources.limits.memory", "ingest needs 1524 Mi"),
    Plant(BASE + "alerts.yaml", "sizeLimit: 1Gi", "sizeLimit: 1Mi", "emptyDir.sizeLimit", "want 256 Mi"),
    Plant(BASE + "migrate.yaml", "- services.maintenance", "- services.maintanance", "containers[0].args", "nothing of that name can be run"),
    Plant(BASE + "network.yaml", "port: http", "port: https", "spec.ingress[0].ports[0].port", "no port 'https'"),
    Plant(BASE + "network.yaml", "        - port: 8701", "        - port: 80", "ports[0].port", "no port 80"),
    Plant(BASE + "monitors.yaml", "scrapeTimeout: 10s", "scrapeTimeout: 30s", "scrapeTimeout", "longer than interval"),
    Plant(BASE + "clickhouse.yaml", "mountPath: /etc/clickhouse-server/tls", "mountPath: /etc/clickhouse-server/certs", "volumeMounts", "no file /etc/clickhouse-server/tls/tls.crt"),
    Plant(BASE + "clickhouse.yaml", "reader/profile: reading", "reader/profile: default", "users", "too wide: reader"),
    Plant(BASE + "clickhouse.yaml", "reading/max_execution_time: '60'", "reading/max_execution_time: '60000'", "max_execution_time", "s at most"),
    Plant(BASE + "clickhouse.yaml", "default/max_memory_usage: '16000000000'", "default/max_memory_usage: '16000000'", "max_memory_usage", "want 2"),
    Plant(BASE + "gateway.yaml", "- key: keys.json", "- key: key.json", "secret", "has no key 'key.json'"),
    Plant(BASE + "scaling.yaml", "sum(max by (partition)", "sum(sum by (partition)", "metadata.query", "counts every replica"),
    Plant("deploy/compose.yaml", "/etc/grafana/provisioning/datasources:ro", "/etc/grafana/datasources:ro", "services.grafana.volumes", "nothing is mounted at /etc/grafana/provisioning/datasources"),
    Plant("deploy/compose.yaml", "- 127.0.0.1:9090:9090", "- 0.0.0.0:9090:9090", "services.prometheus.ports", "this machine only"),
    Plant("deploy/compose.yaml", "kafka:9092\n      CLICKHOUSE", "kafka:9093\n      CLICKHOUSES", "environment.CLICKHOUSES_DSN", "nobody reads"),
    Plant("deploy/compose/otel-collector.yaml", "0.0.0.0:4318", "127.0.0.1:4318", "environment.OTEL_EXPORTER_OTLP_ENDPOINT", "otel-collector has no port 4318", "deploy/compose.yaml"),
    Plant("deploy/compose/otel-collector.yaml", "processors:\n        - memory_limiter", "processors:\n        - memory_limit", "traces.processors[0]", "no 'memory_limit'"),
    Plant("deploy/rules.yaml", "max(yumai_feeds_standing_seconds) > 600", "max(yumai_feeds_standing_seconds) > 600000", "expr", "no ms"),
    Plant("deploy/rules.yaml", "yumai:loss_errors:ratio6h > 6 * 0.001", "yumai:loss_errors:ratio6h > 6", "expr", "no per cent"),
    Plant("deploy/rules.yaml", "max(yumai_metrics_lag_seconds) > 60", "sum(yumai_metrics_lag_seconds) > 60", "expr", "counts every replica"),
    Plant("deploy/rules.yaml", "max(yumai_alerts_outbox_age_seconds) > 3600", "yumai_alerts_outbox_age_seconds > 3600", "expr", "rings once a replica"),
    Plant("deploy/rules.yaml", "{{ $labels.persistentvolumeclaim }} is nearly", "{{ $labels.volume }} is nearly", "annotations.summary", "no label volume"),
    Plant("deploy/rules.yaml", "#yumaidiskfull", "#yumaidiskful", "annotations.runbook", "want docs/operations.md#yumaidiskfull"),
    Plant("deploy/rules.yaml", 'status=~"5..|other"}[5m])) / sum(rate(yumai_gateway', 'status=~"5..|other"}[30m])) / sum(rate(yumai_gateway', "expr", "growth over"),
    Plant("deploy/rules.yaml", "[1d], 14 * 86400)", "[1d], 14 * 86400000)", "expr", "predict_linear for"),
    Plant("deploy/rules.yaml", "interval: 30s", "interval: 30m", "groups[0].interval", "a minute at most"),
    Plant("deploy/rules.yaml", "max by (table) (yumai_store_parts) > 2000", "max(yumai_store_parts) > 2000", "expr", "pairs nothing"),
    Plant("deploy/dashboards.yaml", "histogram_quantile(0.99, sum by (le)", "histogram_quantile(0.99, sum by (pod)", "lines", "no label le"),
    Plant("deploy/dashboards.yaml", "histogram_quantile(0.99,", "histogram_quantile(99,", "lines", "between 0 and 1"),
    Plant("deploy/dashboards.yaml", "width: 12, unit: s, lines", "width: 12, unit: ms, lines", "unit", "want s"),
    Plant("deploy/dashboards.yaml", '"{{door}}"', '"{{path}}"', "lines", "no label path"),
    Plant("deploy/dashboards.yaml", "yumai_canary_failures_total", "yumai_canary_failure_total", "lines", "no metric yumai_canary_failure_total"),
    Plant("deploy/metrics-of-others.yaml", "kubelet_volume_stats_available_bytes: [namespace, persistentvolumeclaim]", "kubelet_volume_stats_available_bytes: [namespace, pvc]", "expr", "pairs nothing", "deploy/rules.yaml"),
    Plant("deploy/Containerfile", "COPY simulation /opt/yumai/app/simulation\n", "", "COPY", "simulation is not in the image"),
    Plant("deploy/Containerfile", "USER 10001:10001", "USER 1000:1000", "USER", "want 10001:10001"),
    Plant("deploy/Containerfile", "\nFROM ${BASE}\n", "\nFROM docker.io/library/python:latest\n", "line", "DL3007"),
]  # fmt: skip
ALONE = ("kustomization.yaml", "spread.yaml")
"""What Kustomize may refuse to build, so that nothing else is looked at: planted by themselves, as is what others hide."""


def _alone(plant: Plant) -> bool:
    return plant.file.endswith(ALONE) or plant.says in ("stands twice", "want 86400")


def batches() -> list[tuple[Edit, ...]]:
    """As many as there may be together: one a file, since two might meet in one field."""
    made: list[dict[str, Plant]] = []
    found: list[tuple[Edit, ...]] = [(p[:3],) for p in PLANTS if _alone(p)]
    for plant in PLANTS:
        if _alone(plant):
            continue
        place = next((batch for batch in made if plant.file not in batch), None)
        if place is None:
            made.append(place := {})
        place[plant.file] = plant
    return found + [tuple(plant[:3] for plant in batch.values()) for batch in made]


BATCHES = batches()


def test_there_are_more_than_forty_kinds():
    assert len({(plant.field, plant.says) for plant in PLANTS}) > 100


def test_the_clean_tree_is_clean(found_in: Callable[[tuple[Edit, ...]], list[str]]):
    assert found_in(()) == []


@pytest.mark.parametrize(
    "plant", PLANTS, ids=lambda p: f"{p.file.rpartition('/')[2]}:{p.new.strip()[:40]!r}"
)
def test_a_planted_error_is_found(plant: Plant, found_in: Callable[[tuple[Edit, ...]], list[str]]):
    batch = next(batch for batch in BATCHES if plant[:3] in batch)
    lines = found_in(batch)
    file = plant.where or plant.file
    assert [
        x for x in lines if x.startswith(f"{file}: ") and plant.field in x and plant.says in x
    ], lines
