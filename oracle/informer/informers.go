package main

import (
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// A resource, and the kind of informer that looks at it.
type resource struct {
	gvr  schema.GroupVersionResource
	kind schema.GroupVersionKind
	make func(config *rest.Config, namespace string, tweak func(*metav1.ListOptions)) (cache.SharedIndexInformer, error)
}

// An informer that runs, and what it saw.
type informer struct {
	shared cache.SharedIndexInformer
	line   *line
	ended  chan struct{}
	has    cache.ResourceEventHandlerRegistration
	lock   sync.Mutex
	saw    []event
}

func typed(*bench) (resource, error) { return typedAs(""), nil }

// Typed clients ask for protobuf where they are told to, and take JSON for an answer.
func protobuf(*bench) (resource, error) { return typedAs("application/vnd.kubernetes.protobuf"), nil }

func typedAs(content string) resource {
	return resource{
		gvr:  configMaps,
		kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
		make: func(config *rest.Config, namespace string, tweak func(*metav1.ListOptions)) (cache.SharedIndexInformer, error) {
			config.ContentType = content
			if content != "" {
				config.AcceptContentTypes = content + ",application/json"
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return nil, err
			}
			factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(tweak))
			return factory.Core().V1().ConfigMaps().Informer(), nil
		},
	}
}

func metadataOnly(*bench) (resource, error) {
	return resource{
		gvr:  configMaps,
		kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
		make: func(config *rest.Config, namespace string, tweak func(*metav1.ListOptions)) (cache.SharedIndexInformer, error) {
			client, err := metadata.NewForConfig(config)
			if err != nil {
				return nil, err
			}
			return metadatainformer.NewFilteredSharedInformerFactory(client, 0, namespace, tweak).ForResource(configMaps).Informer(), nil
		},
	}, nil
}

// Makes a kind that did not exist before.
func custom(b *bench) (resource, error) {
	group := fmt.Sprintf("g%d.example.org", b.random.Uint32())
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"plural": "things", "kind": "Thing"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "x-kubernetes-preserve-unknown-fields": true,
				}},
			}},
		},
	}}
	definitions := b.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(b.ctx, definition, metav1.CreateOptions{}); err != nil {
		return resource{}, err
	}
	r := resource{
		gvr:  schema.GroupVersionResource{Group: group, Version: "v1", Resource: "things"},
		kind: schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Thing"},
	}
	r.make = func(config *rest.Config, namespace string, tweak func(*metav1.ListOptions)) (cache.SharedIndexInformer, error) {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, namespace, tweak).ForResource(r.gvr).Informer(), nil
	}
	return r, until(func() error {
		_, err := b.dynamic.Resource(r.gvr).List(b.ctx, metav1.ListOptions{})
		return err
	})
}

func seen(what string, o metav1.Object) event {
	if what == "DELETED" {
		return event{what, o.GetName(), ""}
	}
	return event{what, o.GetName(), o.GetResourceVersion()}
}

func (r resource) start(b *bench, namespace, selector string) (*informer, error) {
	in := &informer{line: &line{}, ended: make(chan struct{})}
	shared, err := r.make(in.line.config(b.direct), namespace, func(options *metav1.ListOptions) { options.LabelSelector = selector })
	if err != nil {
		return nil, err
	}
	in.shared = shared
	note := func(what string, object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		in.lock.Lock()
		defer in.lock.Unlock()
		in.saw = append(in.saw, seen(what, object.(metav1.Object)))
	}
	in.has, err = shared.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { note("ADDED", object) },
		UpdateFunc: func(_, object any) { note("MODIFIED", object) },
		DeleteFunc: func(object any) { note("DELETED", object) },
	})
	if err != nil {
		return nil, err
	}
	go shared.Run(in.ended)
	return in, nil
}

func (in *informer) stop()              { close(in.ended); in.line.down(true) }
func (in *informer) store() cache.Store { return in.shared.GetStore() }

func (in *informer) events() []event {
	in.lock.Lock()
	defer in.lock.Unlock()
	return append([]event(nil), in.saw...)
}

func (in *informer) synced() error {
	return until(func() error {
		if !in.has.HasSynced() {
			return fmt.Errorf("it never had everything; asked %s", in.line)
		}
		return nil
	})
}

// It must have begun so often, each time in its own way, and not in the other.
func (in *informer) asked(watchList bool, times int) error {
	way, other := "watch-list", "list"
	if !watchList {
		way, other = other, way
	}
	if in.line.count(way) != times || in.line.count(other) != 0 {
		return fmt.Errorf("it should have begun %d times with a %s; asked %s", times, way, in.line)
	}
	return nil
}
