// Command yaml answers how Kubernetes' own YAML library reads and writes.
//
// It reads requests from standard input, one JSON object a line, and writes one answer a line:
//
//	{"read": "text"}   -> {"value": …} or {"error": "…"}
//	{"write": value}   -> {"text": "…"} or {"error": "…"}
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

type request struct {
	Read  *string          `json:"read"`
	Write *json.RawMessage `json:"write"`
}

type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Text  *string         `json:"text,omitempty"`
	Error string          `json:"error,omitempty"`
}

func handle(line []byte) (out answer) {
	defer func() {
		if p := recover(); p != nil {
			out = answer{Error: fmt.Sprint(p)}
		}
	}()
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return answer{Error: err.Error()}
	}
	switch {
	case r.Read != nil:
		value, err := yaml.YAMLToJSON([]byte(*r.Read))
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Value: value}
	case r.Write != nil:
		// Through Go values, as kubectl prints: integers stay integers.
		text, err := yaml.JSONToYAML(*r.Write)
		if err != nil {
			return answer{Error: err.Error()}
		}
		s := string(text)
		return answer{Text: &s}
	}
	return answer{Error: "neither read nor write"}
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if e := encoder.Encode(handle(line)); e != nil {
				fmt.Fprintln(os.Stderr, e)
				os.Exit(1)
			}
		}
		if err != nil {
			return
		}
	}
}
