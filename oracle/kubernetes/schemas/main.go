// Writes what Kubernetes' own Go types and defaulting functions say of the built-in types, beyond their OpenAPI documents.
//
// Usage: go run ./schemas > FILE. A line a field: TYPE FIELD and words. ptr: an empty value is kept, since absence is another thing.
// bare: written even where it is empty, as the JSON that follows in the word zero=. set=JSON: what defaulting puts in where it is
// absent, wherever the type is used. in=: the embedded structs that hold it. go=: what Go calls its type.
// "# differs" names fields whose default hangs on something else: these are written by hand.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/install"
	admissionregistration "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	apps "k8s.io/kubernetes/pkg/apis/apps/install"
	authentication "k8s.io/kubernetes/pkg/apis/authentication/install"
	authorization "k8s.io/kubernetes/pkg/apis/authorization/install"
	autoscaling "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	batch "k8s.io/kubernetes/pkg/apis/batch/install"
	certificates "k8s.io/kubernetes/pkg/apis/certificates/install"
	coordination "k8s.io/kubernetes/pkg/apis/coordination/install"
	core "k8s.io/kubernetes/pkg/apis/core/install"
	discovery "k8s.io/kubernetes/pkg/apis/discovery/install"
	events "k8s.io/kubernetes/pkg/apis/events/install"
	flowcontrol "k8s.io/kubernetes/pkg/apis/flowcontrol/install"
	networking "k8s.io/kubernetes/pkg/apis/networking/install"
	node "k8s.io/kubernetes/pkg/apis/node/install"
	policy "k8s.io/kubernetes/pkg/apis/policy/install"
	rbac "k8s.io/kubernetes/pkg/apis/rbac/install"
	resource "k8s.io/kubernetes/pkg/apis/resource/install"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/install"
	storage "k8s.io/kubernetes/pkg/apis/storage/install"
	storagemigration "k8s.io/kubernetes/pkg/apis/storagemigration/install"
)

var stable = regexp.MustCompile(`^v[0-9]+$`)

var marshaler = reflect.TypeFor[json.Marshaler]()

func short(t reflect.Type) string {
	path := t.PkgPath()
	for _, prefix := range []string{"k8s.io/apiextensions-apiserver/pkg/apis/", "k8s.io/kube-aggregator/pkg/apis/", "k8s.io/apimachinery/pkg/apis/", "k8s.io/api/", "k8s.io/apimachinery/pkg/"} {
		path = strings.TrimPrefix(path, prefix)
	}
	return strings.ReplaceAll(path, "/", ".") + "." + t.Name()
}

// A leaf is written by its own code, or is no struct.
func leaf(t reflect.Type) bool {
	return t.Kind() != reflect.Struct || t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler)
}

func plain(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

type field struct {
	name, options string
	// The embedded structs that it stands in.
	in string
	reflect.StructField
}

// The fields of a struct as JSON sees them.
func fields(t reflect.Type) (out []field) {
	for i := range t.NumField() {
		one := t.Field(i)
		name, options, _ := strings.Cut(one.Tag.Get("json"), ",")
		if name == "-" || !one.IsExported() {
			continue
		}
		if one.Anonymous && name == "" {
			for _, inner := range fields(one.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				inner.in = strings.Trim(one.Type.Name()+"."+inner.in, ".")
				out = append(out, inner)
			}
			continue
		}
		out = append(out, field{name, options, "", one})
	}
	return
}

type key struct{ owner, name string }

type found struct {
	set, unset int
	values     map[string]bool
}

var (
	// The one field that is left out while all others are filled.
	skipped  key
	types    = map[string]reflect.Type{}
	defaults = map[key]*found{}
)

func collect(t reflect.Type) {
	t = plain(t)
	if leaf(t) || types[short(t)] != nil {
		return
	}
	types[short(t)] = t
	for _, one := range fields(t) {
		collect(one.Type)
	}
}

// Fills a value: structs behind pointers are made where deep says so, lists and maps get one item.
func fill(v reflect.Value, deep bool, seen map[reflect.Type]int) {
	t := v.Type()
	switch t.Kind() {
	case reflect.Pointer:
		if deep && !leaf(t.Elem()) && seen[t.Elem()] < 2 {
			v.Set(reflect.New(t.Elem()))
			fill(v.Elem(), deep, seen)
		}
	case reflect.Slice:
		if !leaf(plain(t.Elem())) && seen[plain(t.Elem())] < 2 {
			v.Set(reflect.MakeSlice(t, 1, 1))
			fill(v.Index(0), deep, seen)
		}
	case reflect.Struct:
		if leaf(t) {
			return
		}
		seen[t]++
		for _, one := range fields(t) {
			if skipped != (key{short(t), one.name}) {
				fill(v.FieldByIndex(one.Index), deep, seen)
			}
		}
		seen[t]--
	}
}

func write(v any) string {
	bytes, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(bytes)
}

// Compares before and after, and notes what was put in.
func compare(before, after reflect.Value) {
	switch t := after.Type(); t.Kind() {
	case reflect.Pointer:
		if !after.IsNil() && !before.IsNil() {
			compare(before.Elem(), after.Elem())
		}
	case reflect.Slice:
		for i := range min(after.Len(), before.Len()) {
			compare(before.Index(i), after.Index(i))
		}
	case reflect.Struct:
		if leaf(t) {
			return
		}
		for _, one := range fields(t) {
			old, now := before.FieldByIndex(one.Index), after.FieldByIndex(one.Index)
			at := key{short(t), one.name}
			if old.IsZero() {
				if defaults[at] == nil {
					defaults[at] = &found{values: map[string]bool{}}
				}
				if now.IsZero() {
					defaults[at].unset++
				} else {
					defaults[at].set++
					defaults[at].values[write(now.Interface())] = true
				}
			}
			if !now.IsZero() {
				compare(old, now)
			}
		}
	}
}

// The optional structs that a type can hold.
func pointers(t reflect.Type, seen map[reflect.Type]bool) map[key]bool {
	out := map[key]bool{}
	if t = plain(t); leaf(t) || seen[t] {
		return out
	}
	seen[t] = true
	for _, one := range fields(t) {
		if one.Type.Kind() == reflect.Pointer && !leaf(one.Type.Elem()) {
			out[key{short(t), one.name}] = true
		}
		for at := range pointers(one.Type, seen) {
			out[at] = true
		}
	}
	return out
}

// The name that Go's decoder gives to a text type, or to a list or map of them; empty where it is a plain one.
func goName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if inner := plain(t); leaf(inner) && inner.Kind() != reflect.Struct && inner.PkgPath() != "" && inner.Kind() != reflect.Uint8 {
		return strings.ReplaceAll(t.String(), " ", "")
	}
	if t.Kind() == reflect.Map && t.PkgPath() != "" {
		return t.String()
	}
	return ""
}

func main() {
	scheme := runtime.NewScheme()
	for _, install := range []func(*runtime.Scheme){
		apiextensions.Install, apiregistration.Install, admissionregistration.Install, apps.Install, authentication.Install,
		authorization.Install, autoscaling.Install, batch.Install, certificates.Install, coordination.Install, core.Install,
		discovery.Install, events.Install, flowcontrol.Install, networking.Install, node.Install, policy.Install, rbac.Install,
		resource.Install, scheduling.Install, storage.Install, storagemigration.Install,
	} {
		install(scheme)
	}
	var kinds []schema.GroupVersionKind
	for kind, t := range scheme.AllKnownTypes() {
		if stable.MatchString(kind.Version) && strings.HasPrefix(t.PkgPath(), "k8s.io/") && !strings.HasSuffix(kind.Kind, "Options") &&
			!strings.HasSuffix(kind.Kind, "List") && kind.Kind != "WatchEvent" && !strings.Contains(t.PkgPath(), "apimachinery") {
			kinds = append(kinds, kind)
		}
	}
	sort.Slice(kinds, func(i, j int) bool { return kinds[i].String() < kinds[j].String() })
	try := func(kind schema.GroupVersionKind, deep bool) {
		object, err := scheme.New(kind)
		if err != nil {
			panic(err)
		}
		value := reflect.ValueOf(object).Elem()
		collect(value.Type())
		fill(value, deep, map[reflect.Type]int{})
		before := object.DeepCopyObject()
		defer func() {
			if problem := recover(); problem != nil {
				fmt.Fprintln(os.Stderr, kind, deep, skipped, problem)
			}
		}()
		scheme.Default(object)
		compare(reflect.ValueOf(before).Elem(), value)
	}
	for _, kind := range kinds {
		try(kind, true)
		try(kind, false)
	}
	// a struct behind a pointer may be made although all around it is there
	for _, kind := range kinds {
		object, _ := scheme.New(kind)
		for at := range pointers(reflect.TypeOf(object), map[reflect.Type]bool{}) {
			skipped = at
			try(kind, true)
		}
	}
	var names []string
	for name := range types {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		all := fields(types[name])
		sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
		for _, one := range all {
			words := ""
			empties := strings.Contains(one.options, "omitempty")
			zeros := strings.Contains(one.options, "omitzero")
			kind := one.Type.Kind()
			switch {
			case kind == reflect.Pointer:
				words += " ptr"
				if !empties && !zeros {
					words += " bare zero=null"
				}
			case kind == reflect.Struct && !zeros, !empties && !zeros:
				words += " bare zero=" + write(reflect.Zero(one.Type).Interface())
			}
			if at := defaults[key{name, one.name}]; at != nil && at.set > 0 {
				var values []string
				for value := range at.values {
					values = append(values, value)
				}
				sort.Strings(values)
				if at.unset == 0 && len(values) == 1 {
					words += " set=" + values[0]
				} else {
					fmt.Printf("# differs %s %s: absent %d times, else %s\n", name, one.name, at.unset, strings.Join(values, " | "))
				}
			}
			if one.in != "" && !strings.HasPrefix(one.in, "TypeMeta") {
				words += " in=" + one.in
			}
			if named := goName(one.Type); named != "" {
				words += " go=" + named
			}
			if words != "" {
				fmt.Println(name, one.name+words)
			}
		}
	}
}
