// Command schema prints how lists of Kubernetes' own kinds merge, from the OpenAPI document that kustomize carries.
//
// Only what a strategic merge can tell apart is printed: fields with a merge strategy, and the way to them.
package main

import (
	"fmt"
	"sort"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

func main() {
	definitions := openapi.Schema().Definitions
	names := make([]string, 0, len(definitions))
	for name := range definitions {
		names = append(names, name)
	}
	sort.Strings(names)

	// a definition matters if a merge strategy can be reached from it
	matters := map[string]bool{}
	for changed := true; changed; {
		changed = false
		for _, name := range names {
			if matters[name] {
				continue
			}
			for _, property := range definitions[name].Properties {
				if strategy(property) != "" || matters[target(property)] {
					matters[name] = true
					changed = true
					break
				}
			}
		}
	}
	for _, name := range names {
		if !matters[name] {
			continue
		}
		definition := definitions[name]
		fmt.Printf("%s%s\n", short(name), kinds(definition))
		fields := make([]string, 0, len(definition.Properties))
		for field := range definition.Properties {
			fields = append(fields, field)
		}
		sort.Strings(fields)
		for _, field := range fields {
			property := definition.Properties[field]
			merge, inner := strategy(property), target(property)
			if merge == "" && !matters[inner] {
				continue
			}
			line := " " + field
			if len(property.Type) == 1 && property.Type[0] == "array" {
				line += " []"
			} else if property.AdditionalProperties != nil {
				line += " {}"
			} else {
				line += " ."
			}
			if matters[inner] {
				line += " " + short(inner)
			} else {
				line += " -"
			}
			fmt.Println(line + merge)
		}
	}
}

// kinds are the object kinds that a definition describes.
func kinds(definition spec.Schema) string {
	listed, _ := definition.Extensions["x-kubernetes-group-version-kind"].([]interface{})
	out := ""
	for _, one := range listed {
		kind, _ := one.(map[string]interface{})
		group, _ := kind["group"].(string)
		if group != "" {
			group += "/"
		}
		out += fmt.Sprintf(" %s%v:%v", group, kind["version"], kind["kind"])
	}
	return out
}

// target is the definition that a property, its items or its values refer to.
func target(property spec.Schema) string {
	one := property
	if property.Items != nil && property.Items.Schema != nil {
		one = *property.Items.Schema
	} else if property.AdditionalProperties != nil && property.AdditionalProperties.Schema != nil {
		one = *property.AdditionalProperties.Schema
	}
	return strings.TrimPrefix(one.Ref.String(), "#/definitions/")
}

func strategy(property spec.Schema) string {
	named, ok := property.Extensions["x-kubernetes-patch-strategy"].(string)
	if !ok {
		return ""
	}
	out := " " + named
	if keys, ok := property.Extensions["x-kubernetes-list-map-keys"].([]interface{}); ok {
		for _, key := range keys {
			out += fmt.Sprintf(" %v", key)
		}
	} else if key, ok := property.Extensions["x-kubernetes-patch-merge-key"].(string); ok {
		out += " " + key
	}
	return out
}

// short leaves out what all names begin with.
func short(name string) string {
	for _, prefix := range []string{"io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s."} {
		name = strings.TrimPrefix(name, prefix)
	}
	return name
}
