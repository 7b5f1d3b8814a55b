// Runs client-go's informers and watches against an API server and compares what they saw with what was done.
// One JSON line a scenario; ends with 1 if one of them failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

const patience = 60 * time.Second

// What the scenarios work with: the informers' requests go through a line that can be cut, what is done does not.
type bench struct {
	ctx       context.Context
	random    *rand.Rand
	steps     int
	watchList bool
	// How long the server keeps history.
	history time.Duration
	direct  *rest.Config
	doer    *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
}

type scenario struct {
	name string
	run  func(*bench) (string, error)
}

func main() {
	server := flag.String("server", "", "the API server's address")
	seed := flag.Uint64("seed", 1, "what is done comes from this number")
	steps := flag.Int("steps", 60, "how much is done in a scenario")
	watchList := flag.Bool("watch-list", true, "whether the informers begin with a watch; as KUBE_FEATURE_WatchListClient says")
	history := flag.Duration("history", time.Second, "how long the server keeps history")
	flag.Parse()

	direct := &rest.Config{Host: *server, QPS: -1}
	b := &bench{
		ctx:       context.Background(),
		random:    rand.New(rand.NewPCG(*seed, 0)),
		steps:     *steps,
		watchList: *watchList,
		history:   *history,
		direct:    direct,
		doer:      kubernetes.NewForConfigOrDie(direct),
		dynamic:   dynamic.NewForConfigOrDie(direct),
	}
	scenarios := []scenario{
		{"typed informer", func(b *bench) (string, error) { return follow(b, typed) }},
		{"typed informer that asks for protobuf", func(b *bench) (string, error) { return follow(b, protobuf) }},
		{"metadata informer", func(b *bench) (string, error) { return follow(b, metadataOnly) }},
		{"dynamic informer of a custom kind", func(b *bench) (string, error) { return follow(b, custom) }},
		{"informer with a selector", selected},
		{"cut connection", cut},
		{"history that is gone", tooOld},
		{"bookmarks", bookmarks},
		{"retry watcher", retryWatcher},
	}
	failed := false
	for _, s := range scenarios {
		begun := time.Now()
		said, err := s.run(b)
		line := map[string]any{"scenario": s.name, "ok": err == nil, "said": said, "ms": time.Since(begun).Milliseconds()}
		if err != nil {
			failed = true
			line["error"] = err.Error()
		}
		text, _ := json.Marshal(line)
		fmt.Println(string(text))
	}
	if failed {
		os.Exit(1)
	}
}

// One thing that happened to an object.
type event struct {
	Type, Name string
	// Of a deletion nobody is told.
	Version string
}

func (e event) String() string { return e.Type + " " + e.Name + "@" + e.Version }

// A namespace of its own for a scenario.
func (b *bench) namespace() (string, error) {
	made, err := b.doer.CoreV1().Namespaces().Create(b.ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "informer-"},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	// every namespace is given a ConfigMap, some time after it was made
	return made.Name, until(func() error {
		_, err := b.doer.CoreV1().ConfigMaps(made.Name).Get(b.ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err
	})
}

// Objects of one resource in one namespace, and what was done to them.
type world struct {
	b       *bench
	objects dynamic.ResourceInterface
	kind    schema.GroupVersionKind
	alive   []string
	next    int
	done    []event
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func (b *bench) world(r resource, namespace string) *world {
	return &world{b: b, objects: b.dynamic.Resource(r.gvr).Namespace(namespace), kind: r.kind}
}

// Creates, changes or deletes something.
func (w *world) step() error {
	dice := w.b.random.IntN(10)
	if len(w.alive) == 0 || dice < 4 {
		return w.create(nil)
	}
	at := w.b.random.IntN(len(w.alive))
	if dice < 8 {
		return w.change(w.alive[at], map[string]any{"data": map[string]any{"n": strconv.Itoa(w.b.random.Int())}})
	}
	return w.remove(at)
}

func (w *world) steps(count int) error {
	for range count {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) create(labels map[string]string) error {
	object := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"n": "0"}}}
	object.SetGroupVersionKind(w.kind)
	object.SetName(fmt.Sprintf("object-%03d", w.next))
	object.SetLabels(labels)
	w.next++
	made, err := w.objects.Create(w.b.ctx, object, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	w.alive = append(w.alive, made.GetName())
	w.done = append(w.done, event{"ADDED", made.GetName(), made.GetResourceVersion()})
	return nil
}

func (w *world) change(name string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	made, err := w.objects.Patch(w.b.ctx, name, "application/merge-patch+json", body, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("changing: %w", err)
	}
	w.done = append(w.done, event{"MODIFIED", name, made.GetResourceVersion()})
	return nil
}

func (w *world) remove(at int) error {
	name := w.alive[at]
	w.alive = slices.Delete(w.alive, at, at+1)
	if err := w.objects.Delete(w.b.ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting: %w", err)
	}
	w.done = append(w.done, event{"DELETED", name, ""})
	return nil
}

// What is there, as a list says.
func (w *world) listed() (map[string]string, error) {
	list, err := w.objects.List(w.b.ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, item := range list.Items {
		found[item.GetName()] = item.GetResourceVersion()
	}
	return found, nil
}

// Typed config maps in a namespace of their own.
func typedHere(b *bench) (resource, string, error) {
	namespace, err := b.namespace()
	if err != nil {
		return resource{}, "", err
	}
	r, err := typed(b)
	return r, namespace, err
}

// An informer that has seen what was there before it.
func started(b *bench, r resource, namespace, selector string) (*informer, error) {
	in, err := r.start(b, namespace, selector)
	if err != nil {
		return nil, err
	}
	if err := in.synced(); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// Waits until it is so; fails with the last reason why not.
func until(look func() error) error {
	end := time.Now().Add(patience)
	for {
		err := look()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func same(saw, done []event) error {
	if slices.Equal(saw, done) {
		return nil
	}
	at := 0
	for at < len(saw) && at < len(done) && saw[at] == done[at] {
		at++
	}
	tail := func(all []event) []event { return all[at:min(at+3, len(all))] }
	return fmt.Errorf("it saw %d events of %d; from event %d on: saw %v, done %v", len(saw), len(done), at, tail(saw), tail(done))
}

// The informer's own store must hold what a list holds.
func storeHolds(store cache.Store, w *world) error {
	listed, err := w.listed()
	if err != nil {
		return err
	}
	held := map[string]string{}
	for _, object := range store.List() {
		o := object.(metav1.Object)
		held[o.GetName()] = o.GetResourceVersion()
	}
	if len(held) != len(listed) {
		return fmt.Errorf("the store holds %d objects, a list %d", len(held), len(listed))
	}
	for name, version := range listed {
		if held[name] != version {
			return fmt.Errorf("the store holds %s at %q, a list at %q", name, held[name], version)
		}
	}
	return nil
}

// An informer sees what was there before it, then everything that is done, in order.
func follow(b *bench, of func(*bench) (resource, error)) (string, error) {
	r, err := of(b)
	if err != nil {
		return "", err
	}
	namespace, err := b.namespace()
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	if err := w.steps(b.steps / 3); err != nil {
		return "", err
	}
	there, err := w.listed()
	if err != nil {
		return "", err
	}
	in, err := started(b, r, namespace, "")
	if err != nil {
		return "", err
	}
	defer in.stop()
	first := in.events()
	if len(first) != len(there) {
		return "", fmt.Errorf("it began with %d objects of %d", len(first), len(there))
	}
	for _, e := range first {
		if e.Type != "ADDED" || there[e.Name] != e.Version {
			return "", fmt.Errorf("it began with %v, where a list has version %q", e, there[e.Name])
		}
	}
	w.done = nil
	if err := w.steps(b.steps); err != nil {
		return "", err
	}
	if err := until(func() error { return same(in.events()[len(first):], w.done) }); err != nil {
		return "", err
	}
	if err := storeHolds(in.store(), w); err != nil {
		return "", err
	}
	if err := in.asked(b.watchList, 1); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d objects, then %d events; asked %s", len(first), len(w.done), in.line), nil
}

// What comes to match a selector comes as ADDED, what stops as DELETED.
func selected(b *bench) (string, error) {
	r, namespace, err := typedHere(b)
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	in, err := started(b, r, namespace, "colour=red")
	if err != nil {
		return "", err
	}
	defer in.stop()
	paint := func(colour string) map[string]any {
		return map[string]any{"metadata": map[string]any{"labels": map[string]any{"colour": colour}}}
	}
	var wanted []event
	do := func(err error, seen string) error {
		if err != nil {
			return err
		}
		last := w.done[len(w.done)-1]
		switch seen {
		case "":
		case "DELETED":
			wanted = append(wanted, event{seen, last.Name, ""})
		default:
			wanted = append(wanted, event{seen, last.Name, last.Version})
		}
		return nil
	}
	red, blue := "object-000", "object-001"
	for _, err := range []error{
		do(w.create(map[string]string{"colour": "red"}), "ADDED"),
		do(w.create(map[string]string{"colour": "blue"}), ""),
		do(w.change(blue, paint("green")), ""),
		do(w.change(blue, paint("red")), "ADDED"),
		do(w.change(red, map[string]any{"data": map[string]any{"n": "1"}}), "MODIFIED"),
		do(w.change(red, paint("blue")), "DELETED"),
		do(w.remove(0), ""),
		do(w.remove(0), "DELETED"),
	} {
		if err != nil {
			return "", err
		}
	}
	err = until(func() error { return same(in.events(), wanted) })
	return fmt.Sprintf("%d events of %d", len(wanted), len(w.done)), err
}

// Every connection breaks while things happen: it goes on where it was, and begins nothing anew.
func cut(b *bench) (string, error) {
	r, namespace, err := typedHere(b)
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	in, err := started(b, r, namespace, "")
	if err != nil {
		return "", err
	}
	defer in.stop()
	first := len(in.events())
	for range 3 {
		if err := w.steps(b.steps / 6); err != nil {
			return "", err
		}
		if err := until(func() error { return same(in.events()[first:], w.done) }); err != nil {
			return "", err
		}
		in.line.break_()
		if err := w.steps(b.steps / 6); err != nil {
			return "", err
		}
	}
	if err := until(func() error { return same(in.events()[first:], w.done) }); err != nil {
		return "", err
	}
	if err := storeHolds(in.store(), w); err != nil {
		return "", err
	}
	if err := in.asked(b.watchList, 1); err != nil {
		return "", err
	}
	if in.line.count("watch from") < 3 {
		return "", fmt.Errorf("it never went on after a cut: %s", in.line)
	}
	return fmt.Sprintf("%d events over 3 cuts; asked %s", len(w.done), in.line), nil
}

// The line is away for longer than history is kept: it is told 410, and begins anew without losing a deletion.
func tooOld(b *bench) (string, error) {
	r, namespace, err := typedHere(b)
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	if err := w.steps(b.steps / 2); err != nil {
		return "", err
	}
	for range 2 {
		if err := w.create(nil); err != nil {
			return "", err
		}
	}
	in, err := started(b, r, namespace, "")
	if err != nil {
		return "", err
	}
	defer in.stop()
	// a watch that ends before it has seen anything is no watch to go on with
	before := len(in.events()) + 1
	if err := w.create(nil); err != nil {
		return "", err
	}
	err = until(func() error {
		if len(in.events()) < before {
			return errors.New("it never saw what was created")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	in.line.down(true)
	if err := w.remove(0); err != nil {
		return "", err
	}
	gone := w.done[len(w.done)-1].Name
	if err := w.steps(b.steps / 2); err != nil {
		return "", err
	}
	time.Sleep(3 * b.history)
	// somebody has to write for history to be looked at
	if err := w.create(nil); err != nil {
		return "", err
	}
	in.line.down(false)
	if err := until(func() error { return storeHolds(in.store(), w) }); err != nil {
		return "", err
	}
	if err := in.asked(b.watchList, 2); err != nil {
		return "", err
	}
	err = until(func() error {
		for _, e := range in.events()[before:] {
			if e.Type == "DELETED" && e.Name == gone {
				return nil
			}
		}
		return fmt.Errorf("it was never told that %s is gone", gone)
	})
	if err != nil {
		return "", err
	}
	if in.line.count("410") == 0 {
		return "", fmt.Errorf("nobody said 410; asked %s", in.line)
	}
	return "asked " + in.line.String(), nil
}

// A watch with bookmarks ends with one, and a watch from there on sees nothing twice and misses nothing.
func bookmarks(b *bench) (string, error) {
	r, namespace, err := typedHere(b)
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	list, err := b.doer.CoreV1().ConfigMaps(namespace).List(b.ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	seconds := int64(2)
	read := func(from string) ([]event, string, error) {
		var saw []event
		last := ""
		watching, err := b.doer.CoreV1().ConfigMaps(namespace).Watch(b.ctx, metav1.ListOptions{
			ResourceVersion: from, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
		})
		if err != nil {
			return nil, "", err
		}
		defer watching.Stop()
		for e := range watching.ResultChan() {
			if e.Type == watch.Error {
				return nil, "", apierrors.FromObject(e.Object)
			}
			o := e.Object.(*corev1.ConfigMap)
			if e.Type == watch.Bookmark {
				last = o.ResourceVersion
				continue
			}
			saw = append(saw, seen(string(e.Type), o))
		}
		return saw, last, nil
	}
	if err := w.steps(5); err != nil {
		return "", err
	}
	// what is written elsewhere moves the bookmark on
	other, err := b.doer.CoreV1().Secrets(namespace).Create(b.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	saw, last, err := read(list.ResourceVersion)
	if err != nil {
		return "", err
	}
	if err := same(saw, w.done); err != nil {
		return "", err
	}
	at, _ := strconv.ParseUint(last, 10, 64)
	least, _ := strconv.ParseUint(other.ResourceVersion, 10, 64)
	if at < least {
		return "", fmt.Errorf("the last bookmark says %q, though %s was written", last, other.ResourceVersion)
	}
	w.done = nil
	if err := w.steps(5); err != nil {
		return "", err
	}
	saw, _, err = read(last)
	if err != nil {
		return "", err
	}
	return "a bookmark at the end, and on from it", same(saw, w.done)
}

// client-go's retry watcher lives through cuts.
func retryWatcher(b *bench) (string, error) {
	r, namespace, err := typedHere(b)
	if err != nil {
		return "", err
	}
	line := &line{}
	client, err := kubernetes.NewForConfig(line.config(b.direct))
	if err != nil {
		return "", err
	}
	w := b.world(r, namespace)
	list, err := client.CoreV1().ConfigMaps(namespace).List(b.ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	watching, err := toolswatch.NewRetryWatcherWithContext(b.ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.CoreV1().ConfigMaps(namespace).Watch(ctx, options)
		},
	})
	if err != nil {
		return "", err
	}
	defer watching.Stop()
	var saw []event
	next := func() error {
		select {
		case e, open := <-watching.ResultChan():
			if !open {
				return errors.New("the watch ended")
			}
			if o, ok := e.Object.(*corev1.ConfigMap); ok && e.Type != watch.Bookmark {
				saw = append(saw, seen(string(e.Type), o))
			}
			return nil
		case <-time.After(patience):
			return same(saw, w.done)
		}
	}
	for range 3 {
		if err := w.steps(b.steps / 6); err != nil {
			return "", err
		}
		for len(saw) < len(w.done) {
			if err := next(); err != nil {
				return "", err
			}
		}
		line.break_()
	}
	return fmt.Sprintf("%d events; asked %s", len(saw), strings.TrimSpace(line.String())), same(saw, w.done)
}
