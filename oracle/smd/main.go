package main

import (
	_ "k8s.io/api/apps/v1"
	_ "k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	_ "k8s.io/apimachinery/pkg/util/strategicpatch"
	_ "k8s.io/client-go/applyconfigurations"
	_ "sigs.k8s.io/structured-merge-diff/v6/typed"
)

func main() {}
