// Answers, with Kubernetes' own code, the questions that the tests of k8s-apply ask: JSON lines in, JSON lines out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

type object = map[string]any

// One question. Op is schema, apply, update, strategic, twoway, merge, jsonpatch or csa.
type question struct {
	Op, Schema, Manager, Subresource, APIVersion, Kind string
	// Typed objects go through Kubernetes' structs first, as in its API server.
	Typed, Force bool
	Live, New    object
	Reset        []string
	From         []string
	Schemas      map[string]*spec.Schema
	// The versions of a custom kind that are served, the stored one first, and in each the name of the one field that they call otherwise.
	Served []string
	Called map[string]string
	// A JSON patch.
	Operations json.RawMessage
}

type answer struct {
	Live, New, Out object `json:",omitempty"`
	Error          string `json:",omitempty"`
}

// Objects stay in the one version that a question has.
type oneVersion struct{ typed bool }

func (c oneVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	if u, ok := in.(*unstructured.Unstructured); ok && c.typed {
		return toTyped(u.Object)
	}
	return in, nil
}
func (oneVersion) Convert(_, _, _ any) error { return fmt.Errorf("not needed") }
func (oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, l, v string) (string, string, error) {
	return l, v, nil
}
func (oneVersion) Default(runtime.Object) {}
func (c oneVersion) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: object{}}
	u.SetGroupVersionKind(kind)
	return c.ConvertToVersion(u, nil)
}

// Custom objects in several versions, of which one field has another name in each.
type manyVersions struct {
	oneVersion
	served []string
	called map[string]string
}

func (c manyVersions) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	to := target.(schema.GroupVersion)
	from := in.GetObjectKind().GroupVersionKind()
	if !slices.Contains(c.served, to.String()) {
		return nil, runtime.NewNotRegisteredErrForTarget("oracle", nil, target)
	}
	out := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(in.(*unstructured.Unstructured).Object)}
	out.SetAPIVersion(to.String())
	spec, _ := out.Object["spec"].(object)
	before, after := c.called[from.GroupVersion().String()], c.called[to.String()]
	if value, ok := spec[before]; ok && before != after {
		delete(spec, before)
		spec[after] = value
	}
	return out, nil
}

func (c manyVersions) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: object{}}
	u.SetGroupVersionKind(kind)
	return u, nil
}

func toTyped(in object) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: in}
	out, err := scheme.Scheme.New(u.GroupVersionKind())
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(in, out)
	}
	return out, err
}

func toJSON(in runtime.Object) (out object) {
	bytes, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(bytes, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

var converters = map[string]managedfields.TypeConverter{
	"builtin": applyconfigurations.NewTypeConverter(scheme.Scheme),
	"deduced": managedfields.NewDeducedTypeConverter(),
}

func (q question) manage() (a answer, err error) {
	kind := schema.FromAPIVersionAndKind(q.APIVersion, q.Kind)
	if q.Served != nil {
		return q.manageCustom(kind)
	}
	types := oneVersion{q.Typed}
	reset := q.reset(q.APIVersion)
	manager, err := managedfields.NewDefaultFieldManager(converters[q.Schema], types, types, types, kind, kind.GroupVersion(), q.Subresource, reset)
	if err != nil {
		return a, err
	}
	live, _ := types.New(kind)
	if q.Live != nil {
		if live, err = types.ConvertToVersion(&unstructured.Unstructured{Object: q.Live}, nil); err != nil {
			return a, err
		}
		a.Live = toJSON(live)
	}
	var out runtime.Object
	if q.Op == "apply" {
		out, err = manager.Apply(live, &unstructured.Unstructured{Object: q.New}, q.Manager, q.Force)
	} else {
		var next runtime.Object
		if next, err = types.ConvertToVersion(&unstructured.Unstructured{Object: q.New}, nil); err != nil {
			return a, err
		}
		a.New = toJSON(next)
		out, err = manager.Update(live, next, q.Manager)
	}
	if err == nil {
		a.Out = toJSON(out)
	}
	return a, err
}

func (q question) reset(versions ...string) map[fieldpath.APIVersion]fieldpath.Filter {
	reset := map[fieldpath.APIVersion]fieldpath.Filter{}
	if q.Reset != nil {
		set := fieldpath.NewSet()
		for _, path := range q.Reset {
			set.Insert(fieldpath.MakePathOrDie(path))
		}
		for _, version := range versions {
			reset[fieldpath.APIVersion(version)] = fieldpath.NewExcludeSetFilter(set)
		}
	}
	return reset
}

func (q question) manageCustom(kind schema.GroupVersionKind) (a answer, err error) {
	types := manyVersions{served: q.Served, called: q.Called}
	hub, err := schema.ParseGroupVersion(q.Served[0])
	if err != nil {
		return a, err
	}
	manager, err := managedfields.NewDefaultCRDFieldManager(converters[q.Schema], types, types, types, kind, hub, q.Subresource, q.reset(q.Served...))
	if err != nil {
		return a, err
	}
	live, _ := types.New(kind)
	if q.Live != nil {
		live = &unstructured.Unstructured{Object: q.Live}
	}
	var out runtime.Object
	if q.Op == "apply" {
		out, err = manager.Apply(live, &unstructured.Unstructured{Object: q.New}, q.Manager, q.Force)
	} else {
		out = manager.UpdateNoErrors(live, &unstructured.Unstructured{Object: q.New}, q.Manager)
	}
	if err == nil {
		a.Out = toJSON(out)
	}
	return a, err
}

// Patches of JSON, as the API server applies them.
func (q question) json() (a answer, err error) {
	live, _ := json.Marshal(q.Live)
	var out []byte
	if q.Op == "merge" {
		patch, _ := json.Marshal(q.New)
		out, err = jsonpatch.MergePatch(live, patch)
	} else {
		var patch jsonpatch.Patch
		if patch, err = jsonpatch.DecodePatch(q.Operations); err == nil {
			out, err = patch.Apply(live)
		}
	}
	if err == nil {
		err = json.Unmarshal(out, &a.Out)
	}
	return a, err
}

func (q question) patch() (a answer, err error) {
	kind, err := scheme.Scheme.New(schema.FromAPIVersionAndKind(q.APIVersion, q.Kind))
	if err != nil {
		return a, err
	}
	a.New = q.New
	if q.Op == "twoway" {
		from, _ := json.Marshal(q.Live)
		to, _ := json.Marshal(q.New)
		bytes, err := strategicpatch.CreateTwoWayMergePatch(from, to, kind)
		if err != nil {
			return a, err
		}
		a.New = nil
		if err := utiljson.Unmarshal(bytes, &a.New); err != nil {
			return a, err
		}
	}
	patch := runtime.DeepCopyJSON(a.New)
	a.Out, err = strategicpatch.StrategicMergeMapPatch(q.Live, patch, kind)
	return a, err
}

func (q question) answer() (a answer, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	switch q.Op {
	case "schema":
		converters[q.Schema], err = managedfields.NewTypeConverter(q.Schemas, false)
	case "apply", "update":
		return q.manage()
	case "strategic", "twoway":
		return q.patch()
	case "merge", "jsonpatch":
		return q.json()
	case "csa":
		u := &unstructured.Unstructured{Object: q.Live}
		err = csaupgrade.UpgradeManagedFields(u, sets.New(q.From...), q.Manager)
		a.Out = u.Object
	default:
		err = fmt.Errorf("unknown op %q", q.Op)
	}
	return a, err
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var q question
		var a answer
		err := json.Unmarshal(in.Bytes(), &q)
		if err == nil {
			// numbers become int64 where they are whole, as in Kubernetes
			for _, o := range []*object{&q.Live, &q.New} {
				if *o != nil {
					bytes, _ := json.Marshal(*o)
					*o = nil
					err = errors.Join(err, utiljson.Unmarshal(bytes, o))
				}
			}
			if err == nil {
				a, err = q.answer()
			}
		}
		if err != nil {
			a.Error = err.Error()
		}
		bytes, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		out.Write(append(bytes, '\n'))
	}
}
