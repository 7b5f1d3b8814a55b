// Writes the table of Kubernetes' built-in types (crates/k8s/apply/src/builtin.types) from its OpenAPI v3 documents;
// cargo xtask schemas puts in what oracle/kubernetes/schemas knows of them.
//
// Usage: go run . DIR > builtin.types, where DIR is api/openapi-spec/v3 of the module k8s.io/kubernetes
// (go mod download -json k8s.io/kubernetes@VERSION tells where it stands). The head of the table explains its form.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

type object = map[string]any

const head = `# Kubernetes' built-in types: what server-side apply, strategic merge and field validation need of them.
# Made by cargo xtask schemas from the OpenAPI v3 documents, the Go types and the defaulting functions of Kubernetes; do not edit.
#
#   TYPE [atomic] [kind=GROUP/VERSION/KIND] [list]    "list" makes KINDList too
#     FIELD[!][~] TYPE [atomic|granular|set|map=KEY,..] [patch=STRATEGY,..] [key=KEY]
#       [ptr] [in=EMBEDDED] [go=TYPE] [null|drop|zero=JSON] [set=JSON [if=SIBLING:TEXT,..|if=SIBLING!TEXT,..]] [default=JSON]
#
# !: required. ~: present in Kubernetes even where it is empty (its default is the zero value).
# ptr: empty and absent are two things. null, zero: written so where it is absent. drop: left out where it is empty, whatever ~ says.
# in: the embedded structs that hold it in Go. go: what Go calls a text type. Both stand in messages about bodies that do not fit.
# default: published; part of a list's keys. set: what the API server puts in where it is absent, and where a sibling is so.
# TYPE: a scalar, the name of a type, []TYPE (atomic where nothing is said) or {}TYPE (a map from string).
#
`

var stable = regexp.MustCompile(`\.v[0-9]+\.[A-Za-z]+$`)

// Types that are scalars or free JSON, whatever their schema says.
var special = map[string]string{
	"io.k8s.apimachinery.pkg.api.resource.Quantity":                                         "quantity",
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString":                                       "intstr",
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":                                             "time",
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":                                        "microtime",
	"io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1":                                         "object",
	"io.k8s.apimachinery.pkg.runtime.RawExtension":                                          "object",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON":                         "any",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray":       "any",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool":        "any",
	"io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any",
}

var scalars = map[string]string{
	"string/": "string", "string/byte": "bytes", "integer/int32": "int32", "integer/int64": "int64",
	"integer/": "int64", "boolean/": "bool", "number/double": "double", "string/date-time": "time",
}

func short(name string) string {
	for prefix, alias := range map[string]string{
		"io.k8s.api.":                                        "",
		"io.k8s.apimachinery.pkg.apis.":                      "",
		"io.k8s.apimachinery.pkg.":                           "",
		"io.k8s.apiextensions-apiserver.pkg.apis.":           "",
		"io.k8s.kube-aggregator.pkg.apis.apiregistration.v1": "apiregistration.v1",
	} {
		if strings.HasPrefix(name, prefix) && prefix != "io.k8s.apimachinery.pkg." {
			return alias + strings.TrimPrefix(name, prefix)
		}
	}
	return strings.TrimPrefix(name, "io.k8s.apimachinery.pkg.")
}

func text(value any) string { s, _ := value.(string); return s }

func list(value any) (out []string) {
	all, _ := value.([]any)
	for _, one := range all {
		out = append(out, text(one))
	}
	return
}

func refOf(schema object) string {
	if all, ok := schema["allOf"].([]any); ok && len(all) == 1 {
		schema = all[0].(object)
	}
	return strings.TrimPrefix(text(schema["$ref"]), "#/components/schemas/")
}

func typeOf(schema object) string {
	if ref := refOf(schema); ref != "" {
		if name, ok := special[ref]; ok {
			return name
		}
		return short(ref)
	}
	switch kind := text(schema["type"]); kind {
	case "array":
		return "[]" + typeOf(schema["items"].(object))
	case "object":
		if inner, ok := schema["additionalProperties"].(object); ok {
			return "{}" + typeOf(inner)
		}
		return "object"
	case "":
		return "any"
	default:
		name, ok := scalars[kind+"/"+text(schema["format"])]
		if !ok {
			panic(fmt.Sprint("unknown scalar ", kind, schema["format"]))
		}
		return name
	}
}

func zero(value any) bool {
	switch v := value.(type) {
	case object:
		return len(v) == 0
	case string:
		return v == ""
	case float64:
		return v == 0
	case bool:
		return !v
	}
	return false
}

func field(name string, schema object, required bool) string {
	line := "  " + name
	if required {
		line += "!"
	}
	value, has := schema["default"]
	if has && zero(value) {
		line += "~"
	}
	line += " " + typeOf(schema)
	if kind := text(schema["x-kubernetes-map-type"]); kind != "" {
		line += " " + kind
	} else if refOf(schema) == "io.k8s.apimachinery.pkg.runtime.RawExtension" {
		// structured merge never looks into it
		line += " atomic"
	}
	switch kind := text(schema["x-kubernetes-list-type"]); kind {
	case "set":
		line += " set"
	case "map":
		line += " map=" + strings.Join(list(schema["x-kubernetes-list-map-keys"]), ",")
	case "":
		// structured merge falls back on the patch strategy where a list has no type
		if schema["type"] == "array" && text(schema["x-kubernetes-patch-strategy"]) == "merge" {
			if key := text(schema["x-kubernetes-patch-merge-key"]); key != "" {
				line += " map=" + key
			} else {
				line += " set"
			}
		}
	}
	if strategy := text(schema["x-kubernetes-patch-strategy"]); strategy != "" {
		line += " patch=" + strategy
	}
	if key := text(schema["x-kubernetes-patch-merge-key"]); key != "" {
		line += " key=" + key
	}
	if has && !zero(value) {
		bytes, _ := json.Marshal(value)
		line += " default=" + string(bytes)
	}
	return line + "\n"
}

func main() {
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*_openapi.json"))
	if err != nil || len(files) == 0 {
		panic(fmt.Sprint("no OpenAPI v3 documents in ", os.Args[1]))
	}
	schemas := object{}
	for _, file := range files {
		bytes, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var document struct {
			Components struct{ Schemas object }
		}
		if err := json.Unmarshal(bytes, &document); err != nil {
			panic(err)
		}
		for name, schema := range document.Components.Schemas {
			if stable.MatchString(name) || strings.HasPrefix(name, "io.k8s.apimachinery.pkg.") {
				schemas[name] = schema
			}
		}
	}
	byShort := map[string]string{}
	var names []string
	for name := range schemas {
		if special[name] != "" || name == "io.k8s.apimachinery.pkg.apis.meta.v1.Patch" {
			continue
		}
		if other, ok := byShort[short(name)]; ok {
			panic(fmt.Sprint("one short name for ", name, " and ", other))
		}
		byShort[short(name)] = name
		names = append(names, short(name))
	}
	sort.Strings(names)
	fmt.Print(head)
	for _, name := range names {
		schema := schemas[byShort[name]].(object)
		properties, _ := schema["properties"].(object)
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		if _, ok := properties["items"]; ok && strings.HasSuffix(name, "List") && len(kinds) == 1 {
			continue
		}
		line := name
		if text(schema["x-kubernetes-map-type"]) == "atomic" {
			line += " atomic"
		}
		if len(kinds) == 1 {
			kind := kinds[0].(object)
			line += fmt.Sprintf(" kind=%s/%s/%s", text(kind["group"]), text(kind["version"]), text(kind["kind"]))
			if _, ok := schemas[byShort[name]+"List"]; ok {
				line += " list"
			}
		}
		fmt.Println(line)
		required := map[string]bool{}
		for _, one := range list(schema["required"]) {
			required[one] = true
		}
		var fields []string
		for one := range properties {
			fields = append(fields, one)
		}
		sort.Strings(fields)
		for _, one := range fields {
			fmt.Print(field(one, properties[one].(object), required[one]))
		}
	}
}
