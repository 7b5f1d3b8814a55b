// Command sprig answers what Helm's template functions do.
//
// It reads requests from standard input, one JSON object a line, and writes one answer a line:
//
//	{"template": "text", "data": value, "helm": 3 or 4} -> {"text": "…"} or {"error": "…"}
//
// The template is the only one of a chart named c, in templates/t, and data are the chart's values; "helm" is 4 when it
// is left out. Text that is no UTF-8 comes as "bytes", in base64.
//
// With the argument "tables" it prints Go's Unicode tables as Rust source instead.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"unicode/utf8"

	chart3 "helm.sh/helm/v3/pkg/chart"
	util3 "helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	common4 "helm.sh/helm/v4/pkg/chart/common"
	chart4 "helm.sh/helm/v4/pkg/chart/v2"
	engine4 "helm.sh/helm/v4/pkg/engine"
)

type request struct {
	Template string         `json:"template"`
	Data     map[string]any `json:"data"`
	Helm     int            `json:"helm"`
}

type answer struct {
	Text  *string `json:"text,omitempty"`
	Bytes string  `json:"bytes,omitempty"`
	Error *string `json:"error,omitempty"`
}

func failed(text string) answer { return answer{Error: &text} }

func handle(line []byte) (out answer) {
	defer func() {
		if p := recover(); p != nil {
			out = failed(fmt.Sprint(p))
		}
	}()
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return failed(err.Error())
	}
	if r.Data == nil {
		r.Data = map[string]any{}
	}
	var files map[string]string
	var err error
	if r.Helm == 3 {
		c := &chart3.Chart{
			Metadata:  &chart3.Metadata{Name: "c", Version: "1.0.0", APIVersion: "v2"},
			Templates: []*chart3.File{{Name: "templates/t", Data: []byte(r.Template)}},
		}
		files, err = engine3.Render(c, util3.Values{"Values": util3.Values(r.Data)})
	} else {
		c := &chart4.Chart{
			Metadata:  &chart4.Metadata{Name: "c", Version: "1.0.0", APIVersion: "v2"},
			Templates: []*common4.File{{Name: "templates/t", Data: []byte(r.Template)}},
		}
		files, err = engine4.Render(c, common4.Values{"Values": common4.Values(r.Data)})
	}
	if err != nil {
		return failed(err.Error())
	}
	text := files["c/templates/t"]
	if !utf8.ValidString(text) {
		return answer{Bytes: base64.StdEncoding.EncodeToString([]byte(text))}
	}
	return answer{Text: &text}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "tables" {
		tables()
		return
	}
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
			out.Flush()
		}
		if err != nil {
			return
		}
	}
}
