// Answers what Go's text/template and fmt make of requests, one JSON object a line; see the tests of
// crates/render/template. With -tables it prints the Unicode tables of that crate.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
)

type file struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type request struct {
	// Templates to parse into one set, in order, and the one to execute.
	Files      []file `json:"files"`
	Execute    string `json:"execute"`
	MissingKey string `json:"missingkey"`
	Data       any    `json:"data"`
	// Or a format with its arguments.
	Format *string `json:"format"`
	Args   []any   `json:"args"`
	// Or a float to write and a text to read as a number or a literal.
	Float *struct {
		Bits string `json:"bits"`
		Verb string `json:"verb"`
		Prec int    `json:"prec"`
	} `json:"float"`
	Number  *string `json:"number"`
	Unquote *string `json:"unquote"`
}

type answer struct {
	Out   string `json:"out"`
	Error string `json:"error,omitempty"`
}

// Values is a map with a name of its own and a method.
type Values map[string]any

// Get is what `index` does.
func (v Values) Get(key string) any { return v[key] }

// Box is a struct with methods on it and on its pointer.
type Box struct {
	Name  string
	Count int
	Any   any
	Inner *Box
	note  string
}

// Sum adds to the count.
func (b Box) Sum(a int, f float64) (float64, error) {
	if a < 0 {
		return 0, errors.New("negative")
	}
	return float64(b.Count+a) + f, nil
}

// Join joins with the name.
func (b *Box) Join(sep string, parts ...string) string {
	return b.Name + sep + strings.Join(parts, sep)
}

// Plain takes nothing.
func (b *Box) Plain() string { return "plain " + b.Name }

// Named has a text of its own.
type Named struct{ Major, Minor int }

func (n *Named) String() string { return fmt.Sprintf("v%d.%d", n.Major, n.Minor) }

// Level is an integer with a text of its own.
type Level int

func (l Level) String() string { return "level-" + strconv.Itoa(int(l)) }

func bytesOf(text any) []byte {
	raw, err := base64.StdEncoding.DecodeString(text.(string))
	if err != nil {
		panic(err)
	}
	return raw
}

// value turns JSON into Go values; `{"$": type, "v": …}` gives a type.
func value(in any) any {
	switch in := in.(type) {
	case []any:
		out := make([]any, len(in))
		for i, v := range in {
			out[i] = value(v)
		}
		return out
	case map[string]any:
		kind, typed := in["$"].(string)
		if !typed {
			out := make(map[string]any, len(in))
			for k, v := range in {
				out[k] = value(v)
			}
			return out
		}
		v := in["v"]
		number := func(bits int) int64 {
			n, err := strconv.ParseInt(v.(string), 10, bits)
			if err != nil {
				panic(err)
			}
			return n
		}
		unsigned := func(bits int) uint64 {
			n, err := strconv.ParseUint(v.(string), 10, bits)
			if err != nil {
				panic(err)
			}
			return n
		}
		switch kind {
		case "int":
			return int(number(64))
		case "int8":
			return int8(number(8))
		case "int16":
			return int16(number(16))
		case "int32":
			return int32(number(32))
		case "int64":
			return number(64)
		case "uint":
			return uint(unsigned(64))
		case "uint8":
			return uint8(unsigned(8))
		case "uint16":
			return uint16(unsigned(16))
		case "uint32":
			return uint32(unsigned(32))
		case "uint64":
			return unsigned(64)
		case "float":
			bits, err := strconv.ParseUint(v.(string), 16, 64)
			if err != nil {
				panic(err)
			}
			return math.Float64frombits(bits)
		case "complex":
			parts := v.([]any)
			return complex(parts[0].(float64), parts[1].(float64))
		case "str":
			return string(bytesOf(v))
		case "bytes":
			return bytesOf(v)
		case "strings":
			out := []string{}
			for _, s := range v.([]any) {
				out = append(out, s.(string))
			}
			return out
		case "ints":
			out := []int{}
			for _, s := range v.([]any) {
				out = append(out, int(s.(float64)))
			}
			return out
		case "nillist":
			return []any(nil)
		case "nilstrings":
			return []string(nil)
		case "nilmap":
			return map[string]any(nil)
		case "labels":
			out := map[string]string{}
			for k, s := range v.(map[string]any) {
				out[k] = s.(string)
			}
			return out
		case "values":
			return Values(value(v).(map[string]any))
		case "box":
			m := v.(map[string]any)
			box := &Box{Name: m["name"].(string), Count: int(m["count"].(float64)), Any: value(m["any"]), note: "hidden"}
			if inner, ok := m["inner"].(string); ok {
				box.Inner = &Box{Name: inner}
			}
			return box
		case "boxvalue":
			m := v.(map[string]any)
			return Box{Name: m["name"].(string), Count: int(m["count"].(float64)), Any: value(m["any"]), note: "hidden"}
		case "nilbox":
			return (*Box)(nil)
		case "named":
			return &Named{1, 2}
		case "level":
			return Level(number(64))
		case "error":
			return errors.New(v.(string))
		case "duration":
			return time.Duration(number(64))
		case "func":
			return func(a int, rest ...string) (string, error) {
				if a == 13 {
					return "", errors.New("unlucky")
				}
				return fmt.Sprint(a, rest), nil
			}
		}
		panic("unknown type " + kind)
	}
	return in
}

type self struct {
	set     *template.Template
	nesting map[string]int
}

func (s *self) functions() template.FuncMap {
	return template.FuncMap{
		"upper":   strings.ToUpper,
		"trim":    strings.TrimSpace,
		"repeat":  func(n int, s string) string { return strings.Repeat(s, n) },
		"list":    func(v ...any) []any { return v },
		"strs":    func(v ...string) []string { return v },
		"typeOf":  func(v any) string { return fmt.Sprintf("%T", v) },
		"ident":   func(v any) any { return v },
		"nothing": func() any { return nil },
		"boom":    func() string { panic("boom") },
		"fail":    func(s string) (string, error) { return "", errors.New(s) },
		"add":     func(a, b int64) int64 { return a + b },
		"half":    func(f float64) float64 { return f / 2 },
		"flag":    func(b bool) string { return fmt.Sprint("flag-", b) },
		"byte":    func(b uint8) uint8 { return b },
		"wide":    func(b uint32, c int8) string { return fmt.Sprint(b, " ", c) },
		"joinAll": func(sep string, parts ...string) string { return strings.Join(parts, sep) },
		"count":   func(m map[string]any) int { return len(m) },
		"size":    func(l []any) int { return len(l) },
		"names":   func(l []string) string { return strings.Join(l, "+") },
		"boxed":   func(b *Box) string { return "boxed " + b.Name },
		"opened":  func(b Box) string { return "opened " + b.Name },
		"later":   func(d time.Duration) string { return (d * 2).String() },
		"message": func(e error) string { return e.Error() },
		"dict": func(v ...any) map[string]any {
			out := map[string]any{}
			for i := 0; i+1 < len(v); i += 2 {
				out[fmt.Sprint(v[i])] = v[i+1]
			}
			return out
		},
		"set": func(m map[string]any, k string, v any) map[string]any { m[k] = v; return m },
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			if s.nesting[name] > 1000 {
				return "", fmt.Errorf("rendering template has a nested reference name: %s: %w", name, errors.New("unable to execute template"))
			}
			s.nesting[name]++
			err := s.set.ExecuteTemplate(&out, name, data)
			s.nesting[name]--
			return out.String(), err
		},
		"tpl": func(text string, data any) (string, error) {
			set, err := s.set.Clone()
			if err != nil {
				return "", err
			}
			inner := &self{set: set, nesting: s.nesting}
			set.Funcs(inner.functions())
			parsed, err := set.New("tpl").Parse(text)
			if err != nil {
				return "", err
			}
			var out strings.Builder
			err = parsed.Execute(&out, data)
			return out.String(), err
		},
	}
}

func render(in request) (out string, err error) {
	s := &self{nesting: map[string]int{}}
	s.set = template.New("base")
	if in.MissingKey != "" {
		s.set.Option("missingkey=" + in.MissingKey)
	}
	s.set.Funcs(s.functions())
	for _, f := range in.Files {
		if _, err := s.set.New(f.Name).Parse(f.Text); err != nil {
			return "", err
		}
	}
	var text strings.Builder
	err = s.set.ExecuteTemplate(&text, in.Execute, value(in.Data))
	return text.String(), err
}

func ask(in request) (out string, err error) {
	switch {
	case in.Format != nil:
		args := make([]any, len(in.Args))
		for i, arg := range in.Args {
			args[i] = value(arg)
		}
		return fmt.Sprintf(string(bytesOf(*in.Format)), args...), nil
	case in.Float != nil:
		bits, err := strconv.ParseUint(in.Float.Bits, 16, 64)
		if err != nil {
			return "", err
		}
		return strconv.FormatFloat(math.Float64frombits(bits), in.Float.Verb[0], in.Float.Prec, 64), nil
	case in.Number != nil:
		text := string(bytesOf(*in.Number))
		i, ierr := strconv.ParseInt(text, 0, 64)
		u, uerr := strconv.ParseUint(text, 0, 64)
		f, ferr := strconv.ParseFloat(text, 64)
		say := func(v any, err error) string {
			if err != nil {
				return err.Error()[strings.LastIndex(err.Error(), ": ")+2:]
			}
			return fmt.Sprint(v)
		}
		return say(i, ierr) + "|" + say(u, uerr) + "|" + say(math.Float64bits(f), ferr), nil
	case in.Unquote != nil:
		return strconv.Unquote(string(bytesOf(*in.Unquote)))
	}
	return render(in)
}

func tables() {
	ranges := func(name, doc string, in func(rune) bool) {
		fmt.Printf("\n/// %s\npub(crate) static %s: &[(u32, u32)] = &[\n", doc, name)
		start := rune(-1)
		for r := rune(0); r <= unicode.MaxRune+1; r++ {
			ok := r <= unicode.MaxRune && in(r)
			if ok && start < 0 {
				start = r
			}
			if !ok && start >= 0 {
				fmt.Printf("    (0x%x, 0x%x),\n", start, r-1)
				start = -1
			}
		}
		fmt.Println("];")
	}
	fmt.Printf("//! Unicode %s as Go has it. Made by `oracle/template -tables`; do not edit.\n", unicode.Version)
	ranges("LETTERS", "Letters: what `unicode.IsLetter` says.", unicode.IsLetter)
	ranges("DIGITS", "Decimal digits: what `unicode.IsDigit` says.", unicode.IsDigit)
	ranges("PRINTABLE", "What `strconv.IsPrint` says: graphic, and of the spaces only U+0020.", strconv.IsPrint)
	ranges("GRAPHIC_SPACES", "What `strconv.IsGraphic` counts and `strconv.IsPrint` does not.",
		func(r rune) bool { return strconv.IsGraphic(r) && !strconv.IsPrint(r) })
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "-tables" {
		tables()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "-functions" {
		var names []string
		for name := range (&self{}).functions() {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println(strings.Join(names, "\n"))
		return
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encode := json.NewEncoder(out)
	for in.Scan() {
		var req request
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			panic(fmt.Sprint(err, in.Text()))
		}
		text, err := ask(req)
		got := answer{Out: base64.StdEncoding.EncodeToString([]byte(text))}
		if err != nil {
			got.Error = base64.StdEncoding.EncodeToString([]byte(err.Error()))
		}
		if err := encode.Encode(got); err != nil {
			panic(err)
		}
	}
}
