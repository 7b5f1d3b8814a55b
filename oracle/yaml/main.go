// Command yaml answers how the YAML libraries of Kubernetes, Helm and kustomize read and write.
//
// It reads requests from standard input, one JSON object a line, and writes one answer a line:
//
//	{"read": "text"}      -> {"value": …} or {"error": "…"}    sigs.k8s.io/yaml YAMLToJSON
//	{"bytes": "base64"}   -> the same for a text that may not be UTF-8
//	{"strict": "text"}    -> the same with YAMLToJSONStrict
//	{"v3": "text"}        -> {"value": typed} or {"error": "…"}    go.yaml.in/yaml/v3 Unmarshal
//	{"write": value}      -> {"text": "…"} or {"error": "…"}   sigs.k8s.io/yaml JSONToYAML
//	{"marshal": value}    -> the same with Marshal; whole numbers are integers, others float64
//	{"pretty": value}     -> the same with version 3's encoder, indent 2
//	{"marshal3": value}   -> the same with version 3's Marshal
//	{"raw": "base64"}     -> Marshal of a Go string of these bytes
//	{"raw3": "base64"}    -> the same with version 3's Marshal
//	{"float": "1e21"}     -> {"json": "…", "text": "…"}    encoding/json's form and %v's
//
// A typed value is a JSON text in which version 3's types can be told apart: {"int": "1"}, {"uint": "…"},
// {"float": "1e+06"}, {"time": "…"}, {"map": [[key, value], …]}; strings, booleans, null and lists are themselves.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

type request struct {
	Read     *string          `json:"read"`
	Bytes    *string          `json:"bytes"`
	Strict   *string          `json:"strict"`
	V3       *string          `json:"v3"`
	Write    *json.RawMessage `json:"write"`
	Marshal  *json.RawMessage `json:"marshal"`
	Pretty   *json.RawMessage `json:"pretty"`
	Marshal3 *json.RawMessage `json:"marshal3"`
	Raw      *string          `json:"raw"`
	Raw3     *string          `json:"raw3"`
	Float    *string          `json:"float"`
}

type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Text  *string         `json:"text,omitempty"`
	JSON  *string         `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}

func failed(err error) answer { return answer{Error: err.Error()} }

func read(text []byte, f func([]byte) ([]byte, error)) answer {
	value, err := f(text)
	if err != nil {
		return failed(err)
	}
	return answer{Value: value}
}

func wrote(text []byte, err error) answer {
	if err != nil {
		return failed(err)
	}
	s := string(text)
	return answer{Text: &s}
}

// native makes Go values of a JSON text: int64 or uint64 where a number is whole as it is spelled, else float64.
func native(raw json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		s := v.String()
		if !strings.ContainsAny(s, ".eE") {
			if i, err := strconv.ParseInt(s, 10, 64); err == nil {
				return i
			}
			if u, err := strconv.ParseUint(s, 10, 64); err == nil {
				return u
			}
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func typed(v any) any {
	switch v := v.(type) {
	case int:
		return map[string]any{"int": strconv.Itoa(v)}
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}
	case uint64:
		return map[string]any{"uint": strconv.FormatUint(v, 10)}
	case float64:
		return map[string]any{"float": fmt.Sprint(v)}
	case time.Time:
		return map[string]any{"time": v.Format(time.RFC3339Nano)}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = typed(v[i])
		}
		return out
	case map[string]any:
		pairs := make([]any, 0, len(v))
		for k, e := range v {
			pairs = append(pairs, []any{k, typed(e)})
		}
		return sorted(pairs)
	case map[any]any:
		pairs := make([]any, 0, len(v))
		for k, e := range v {
			pairs = append(pairs, []any{typed(k), typed(e)})
		}
		return sorted(pairs)
	}
	return v
}

func sorted(pairs []any) any {
	text := func(i int) string {
		b, _ := json.Marshal(pairs[i].([]any)[0])
		return string(b)
	}
	sort.Slice(pairs, func(i, j int) bool { return text(i) < text(j) })
	return map[string]any{"map": pairs}
}

func handle(line []byte) (out answer) {
	defer func() {
		if p := recover(); p != nil {
			out = answer{Error: fmt.Sprintf("panic: %v", p)}
		}
	}()
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return failed(err)
	}
	write := func(raw json.RawMessage, f func(any) ([]byte, error)) answer {
		v, err := native(raw)
		if err != nil {
			return failed(err)
		}
		return wrote(f(v))
	}
	bytesOf := func(s string) string {
		b, _ := base64.StdEncoding.DecodeString(s)
		return string(b)
	}
	switch {
	case r.Read != nil:
		return read([]byte(*r.Read), yaml.YAMLToJSON)
	case r.Bytes != nil:
		return read([]byte(bytesOf(*r.Bytes)), yaml.YAMLToJSON)
	case r.Strict != nil:
		return read([]byte(*r.Strict), yaml.YAMLToJSONStrict)
	case r.V3 != nil:
		var v any
		if err := yaml3.Unmarshal([]byte(*r.V3), &v); err != nil {
			return failed(err)
		}
		b := &bytes.Buffer{}
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(typed(v)); err != nil {
			return failed(err)
		}
		return answer{Value: b.Bytes()}
	case r.Write != nil:
		// Through Go values, as kubectl prints: integers stay integers.
		return wrote(yaml.JSONToYAML(*r.Write))
	case r.Marshal != nil:
		return write(*r.Marshal, func(v any) ([]byte, error) { return yaml.Marshal(v) })
	case r.Marshal3 != nil:
		return write(*r.Marshal3, func(v any) ([]byte, error) { return yaml3.Marshal(v) })
	case r.Pretty != nil:
		return write(*r.Pretty, func(v any) ([]byte, error) {
			var b bytes.Buffer
			e := yaml3.NewEncoder(&b)
			e.SetIndent(2)
			err := e.Encode(v)
			return b.Bytes(), err
		})
	case r.Raw != nil:
		return wrote(yaml.Marshal(map[string]any{"k": bytesOf(*r.Raw)}))
	case r.Raw3 != nil:
		return wrote(yaml3.Marshal(map[string]any{"k": bytesOf(*r.Raw3)}))
	case r.Float != nil:
		f, err := strconv.ParseFloat(*r.Float, 64)
		if err != nil {
			return failed(err)
		}
		b, err := json.Marshal(f)
		if err != nil {
			return failed(err)
		}
		j, t := string(b), fmt.Sprint(f)
		return answer{JSON: &j, Text: &t}
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
