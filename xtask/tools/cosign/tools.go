//go:build tools

// Package tools pins the program that the tests compare our signatures with.
package tools

import _ "github.com/sigstore/cosign/v3/cmd/cosign"
