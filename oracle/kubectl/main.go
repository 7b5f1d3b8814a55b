// The kubectl that the tests hold our API servers against, for machines that have none: the commands of
// k8s.io/kubectl behind a main function.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
