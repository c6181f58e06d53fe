//go:build tools

// Package tools pins the promtool that the tests check the alert rules with.
package tools

import _ "github.com/prometheus/prometheus/cmd/promtool"
