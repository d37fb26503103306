// Command coredns answers for the names of one cluster.
//
// CoreDNS with all its plugins compiles the SDKs of three clouds; these three plugins are what our
// Corefile names, in the order in which CoreDNS itself chains them.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func init() {
	dnsserver.Directives = []string{"bind", "errors", "kubernetes"}
}

func main() {
	coremain.Run()
}
