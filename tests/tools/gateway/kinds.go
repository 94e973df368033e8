// Package gateway names the modules whose custom resource definitions the tests apply; nothing of it runs.
package gateway

import (
	_ "istio.io/api/security/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
