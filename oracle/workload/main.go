// Command workload is what the pods of tests run in place of real programs: it waits, serves or ends.
//
//	workload pause           waits, and collects the processes that others leave: the first of a pod
//	workload job [CODE]      ends with this code
//	workload                 serves HTTP and gRPC's health check on the ports that real programs use
//
// Called by another program's name, as init containers and Jobs of real manifests do, it ends well at once.
//
// READY_AFTER (a duration) keeps it unready for so long, NOT_READY for ever.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Those of the manifests that tests deliver; a pod has them all to itself.
var ports = []string{"80", "3000", "3550", "5000", "5050", "6379", "7000", "7070", "8080", "8081", "9376", "9555", "9898", "50051"}

func main() {
	if name := filepath.Base(os.Args[0]); name != "program" {
		fmt.Println("in place of", name)
		return
	}
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	switch mode {
	case "pause":
		pause()
	case "job":
		code := 0
		if len(os.Args) > 2 {
			code, _ = strconv.Atoi(os.Args[2])
		}
		fmt.Println("the job ends with", code)
		os.Exit(code)
	default:
		serve()
	}
}

func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve() {
	begun := time.Now()
	wait, _ := time.ParseDuration(os.Getenv("READY_AFTER"))
	ready := func() bool { return os.Getenv("NOT_READY") == "" && time.Since(begun) >= wait }
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			health(w, ready())
			return
		}
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		host, _ := os.Hostname()
		fmt.Fprintf(w, "%s %s\n", host, os.Getenv("VERSION"))
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	wanted := append([]string{}, ports...)
	if own := os.Getenv("PORT"); own != "" {
		wanted = append(wanted, own)
	}
	served := 0
	for _, port := range wanted {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			// a low port without the right to it, or one that stands twice
			continue
		}
		served++
		go func() { _ = (&http.Server{Handler: handler, Protocols: protocols}).Serve(listener) }()
	}
	fmt.Println("serves on", served, "ports")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
}

// Answers grpc.health.v1.Health/Check: a message of one field, and the status in the trailer.
func health(w http.ResponseWriter, ready bool) {
	serving := byte(1)
	if !ready {
		serving = 2
	}
	w.Header().Set("Content-Type", "application/grpc")
	_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, serving})
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}
