package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"

	"k8s.io/client-go/rest"
)

// A way to the API server that can be cut, and counts what goes over it.
type line struct {
	lock   sync.Mutex
	open   map[net.Conn]struct{}
	away   bool
	counts map[string]int
}

func (l *line) config(direct *rest.Config) *rest.Config {
	config := rest.CopyConfig(direct)
	config.Dial = l.dial
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{l, next} })
	return config
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.lock.Lock()
	away := l.away
	l.lock.Unlock()
	if away {
		// as of an API server that is not there
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.open == nil {
		l.open = map[net.Conn]struct{}{}
	}
	l.open[conn] = struct{}{}
	return conn, nil
}

// Breaks every connection; new ones work.
func (l *line) break_() {
	l.lock.Lock()
	defer l.lock.Unlock()
	for conn := range l.open {
		_ = conn.Close()
	}
	l.open = nil
}

// Takes the line away, or brings it back.
func (l *line) down(away bool) {
	l.lock.Lock()
	l.away = away
	l.lock.Unlock()
	if away {
		l.break_()
	}
}

func (l *line) note(what string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.counts == nil {
		l.counts = map[string]int{}
	}
	l.counts[what]++
}

func (l *line) count(what string) int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.counts[what]
}

func (l *line) String() string {
	l.lock.Lock()
	defer l.lock.Unlock()
	var all []string
	for what, count := range l.counts {
		all = append(all, fmt.Sprintf("%s: %d", what, count))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

type counting struct {
	line *line
	next http.RoundTripper
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	query := request.URL.Query()
	what := "list"
	switch {
	case query.Get("sendInitialEvents") == "true":
		what = "watch-list"
	case query.Get("watch") == "true":
		what = "watch from"
	}
	if response.StatusCode == http.StatusGone {
		what = "410"
	}
	c.line.note(what)
	response.Body = &looking{ReadCloser: response.Body, line: c.line}
	return response, nil
}

// An expired watch may begin well, and say so in its first frame.
type looking struct {
	io.ReadCloser
	line  *line
	first bool
}

func (l *looking) Read(into []byte) (int, error) {
	count, err := l.ReadCloser.Read(into)
	if !l.first && count > 0 {
		l.first = true
		if bytes.Contains(into[:count], []byte(`"type":"ERROR"`)) && bytes.Contains(into[:count], []byte(`"code":410`)) {
			l.line.note("410")
		}
	}
	return count, err
}
