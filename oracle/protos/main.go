// Command protos prints how Kubernetes' built-in types stand in protobuf: for each type its fields with their
// numbers, their names in JSON, and what they hold. The structs' own tags are the source.
//
//	go run . > ../../crates/k8s/apiserver/src/http/builtin.protos
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

var wanted = []string{
	"/v1", "apps/v1", "batch/v1", "autoscaling/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1",
	"rbac.authorization.k8s.io/v1", "coordination.k8s.io/v1", "events.k8s.io/v1", "discovery.k8s.io/v1",
	"storage.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1", "resource.k8s.io/v1", "scheduling.k8s.io/v1", "node.k8s.io/v1", "admissionregistration.k8s.io/v1",
	"certificates.k8s.io/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1",
}

const apiextensions = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var special = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":       "Time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":  "MicroTime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":   "Duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":   "Raw",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":    "Raw",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":   "Quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
	"k8s.io/api/authentication/v1.ExtraValue":         "Texts",
	"k8s.io/api/authorization/v1.ExtraValue":          "Texts",
	"k8s.io/api/certificates/v1.ExtraValue":           "Texts",

	apiextensions + ".JSON":                         "Raw",
	apiextensions + ".JSONSchemaPropsOrArray":       "SchemaOrList",
	apiextensions + ".JSONSchemaPropsOrBool":        "SchemaOrBool",
	apiextensions + ".JSONSchemaPropsOrStringArray": "SchemaOrTexts",
}

var types = map[string][]string{}

func full(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

func short(t reflect.Type) string {
	path := t.PkgPath()
	for _, prefix := range []string{"k8s.io/apimachinery/pkg/apis/", "k8s.io/apiextensions-apiserver/pkg/apis/", "k8s.io/api/"} {
		path = strings.TrimPrefix(path, prefix)
	}
	return strings.ReplaceAll(path, "/", ".") + "." + t.Name()
}

func describe(t reflect.Type) string {
	if name, ok := special[full(t)]; ok {
		return name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.String:
		return "s"
	case reflect.Bool:
		return "b"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint32:
		return "i"
	case reflect.Float32, reflect.Float64:
		return "d"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "y"
		}
		return "*" + describe(t.Elem())
	case reflect.Map:
		return "%" + describe(t.Elem())
	case reflect.Struct:
		walk(t)
		return short(t)
	}
	fmt.Fprintln(os.Stderr, "unknown", t)
	os.Exit(1)
	return ""
}

func walk(t reflect.Type) {
	name := short(t)
	if _, ok := types[name]; ok {
		return
	}
	types[name] = nil
	var lines []string
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		proto := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(proto) < 2 {
			continue
		}
		json := strings.Split(field.Tag.Get("json"), ",")
		name := json[0]
		flags := ""
		for _, option := range json[1:] {
			switch option {
			case "inline":
				name = "~"
			case "omitempty", "omitzero":
				flags = "?"
			}
		}
		if name == "-" {
			continue
		}
		if name == "" {
			name = "~"
		}
		if field.Type.Kind() == reflect.Pointer {
			flags = ""
		}
		lines = append(lines, fmt.Sprintf("  %s %s%s %s", proto[1], name, flags, describe(field.Type)))
	}
	types[name] = lines
}

func main() {
	kinds := map[string]string{}
	add := func(gv, kind string, t reflect.Type) {
		walk(t)
		kinds[gv+" "+kind] = short(t)
	}
	for _, text := range wanted {
		gv, _ := schema.ParseGroupVersion(strings.TrimPrefix(text, "/"))
		for kind, t := range scheme.Scheme.KnownTypes(gv) {
			if strings.HasSuffix(kind, "Options") || strings.HasSuffix(kind, "List") || kind == "WatchEvent" ||
				kind == "Status" || strings.HasPrefix(kind, "API") || kind == "SerializedReference" || kind == "RangeAllocation" {
				continue
			}
			add(gv.String(), kind, t)
		}
	}
	add("v1", "DeleteOptions", reflect.TypeOf(metav1.DeleteOptions{}))
	definition := reflect.TypeOf(apiextensionsv1.CustomResourceDefinition{})
	add(apiextensionsv1.SchemeGroupVersion.String(), definition.Name(), definition)
	fmt.Println("# How Kubernetes' built-in types stand in protobuf. Made by oracle/protos; do not edit.")
	fmt.Println("#")
	fmt.Println("#   = APIVERSION KIND TYPE")
	fmt.Println("#   TYPE, then a line a field: NUMBER JSONNAME[?] HOLDS")
	fmt.Println("#")
	fmt.Println("# ?: left out of JSON where it is empty. ~: its fields stand in JSON beside its own. HOLDS: s text, b bool,")
	fmt.Println("# i integer, d float, y bytes, *X a list of X, %X a map from text to X, or a type.")
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println("=", name, kinds[name])
	}
	names = nil
	for name := range types {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(name)
		for _, line := range types[name] {
			fmt.Println(line)
		}
	}
}
