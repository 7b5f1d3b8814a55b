// Answers, with Kubernetes' own code, the questions that the tests of k8s-cel ask: JSON lines in, JSON lines out.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/api/resource"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// One question. Op is decls, eval, costs, crd or validate.
type question struct {
	Op, Expr    string
	Schema, Crd json.RawMessage
	Self, Old   json.RawMessage
	Optional    bool
	Budget      int64
	Limit       uint64
}

type answer struct {
	// What the compiler says; all else is empty then.
	Compile string `json:",omitempty"`
	Type    string `json:",omitempty"`
	Min     uint64 `json:",omitempty"`
	Max     uint64 `json:",omitempty"`
	Value   string `json:",omitempty"`
	Error   string `json:",omitempty"`
	Cost    uint64 `json:",omitempty"`

	Errors    []fieldError `json:",omitempty"`
	Remaining int64        `json:",omitempty"`
	Costs     []ruleCost   `json:",omitempty"`
	Lines     []string     `json:",omitempty"`
	// The question was no question.
	Bad string `json:",omitempty"`
}

type fieldError struct {
	Type, Field, Detail, Message string
}

type ruleCost struct {
	Path                       string
	Rule                       int
	Error, MessageError        string
	Cost, Cardinality, Message uint64
}

var base = environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())

func structural(raw json.RawMessage) (*structuralschema.Structural, error) {
	var props apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(raw, &props); err != nil {
		return nil, err
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&props, &internal, nil); err != nil {
		return nil, err
	}
	return structuralschema.NewStructural(&internal)
}

func value(raw json.RawMessage) (out any, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	wrapped := map[string]any{}
	err = utiljson.Unmarshal([]byte(`{"v":`+string(raw)+`}`), &wrapped)
	return wrapped["v"], err
}

// How large data at a path of the schema can be.
type sizes struct{ root *apiservercel.DeclType }

func (s sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	at := s.root
	for _, step := range path[1:] {
		next := (*apiservercel.DeclType)(nil)
		if step == "@items" || step == "@values" {
			next = at.ElemType
		} else if step == "@keys" {
			next = at.KeyType
		} else if f, ok := at.Fields[step]; ok {
			next = f.Type
		}
		if next == nil {
			return nil
		}
		at = next
	}
	return &checker.SizeEstimate{Max: uint64(at.MaxElements)}
}

func (sizes) EstimateCallCost(_, _ string, _ *checker.AstNode, _ []checker.AstNode) *checker.CallEstimate {
	return nil
}

func (q question) eval() (a answer, err error) {
	s, err := structural(q.Schema)
	if err != nil {
		return a, err
	}
	decl := model.SchemaDeclType(s, false)
	if decl == nil {
		return a, fmt.Errorf("the schema has no type")
	}
	scoped := decl.MaybeAssignTypeName("selfType")
	old := scoped.CelType()
	if q.Optional {
		old = types.NewOptionalType(old)
	}
	set, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		EnvOptions:        []celgo.EnvOption{celgo.Variable("self", scoped.CelType()), celgo.Variable("oldSelf", old)},
		DeclTypes:         []*apiservercel.DeclType{scoped},
	})
	if err != nil {
		return a, err
	}
	env := set.StoredExpressionsEnv()
	ast, issues := env.Compile(q.Expr)
	if issues != nil && issues.Err() != nil {
		a.Compile = issues.String()
		return a, nil
	}
	a.Type = ast.OutputType().String()
	estimator := &library.CostEstimator{SizeEstimator: sizes{decl}}
	limit := q.Limit
	if limit == 0 {
		limit = celconfig.PerCallLimit
	}
	program, err := env.Program(ast, celgo.CostLimit(limit), celgo.CostTracking(estimator), celgo.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		a.Compile = "program: " + err.Error()
		return a, nil
	}
	static, err := env.EstimateCost(ast, estimator)
	if err != nil {
		return a, err
	}
	a.Min, a.Max = static.Min, static.Max
	vars := map[string]any{}
	self, err := value(q.Self)
	if err != nil {
		return a, err
	}
	vars["self"] = cel.UnstructuredToVal(self, s)
	if q.Optional {
		vars["oldSelf"] = types.OptionalNone
	}
	if len(q.Old) > 0 {
		before, err := value(q.Old)
		if err != nil {
			return a, err
		}
		val := cel.UnstructuredToVal(before, s)
		vars["oldSelf"] = val
		if q.Optional {
			vars["oldSelf"] = types.OptionalOf(val)
		}
	}
	out, details, err := program.ContextEval(context.Background(), vars)
	if details != nil && details.ActualCost() != nil {
		a.Cost = *details.ActualCost()
	}
	if err != nil {
		a.Error = err.Error()
		return a, nil
	}
	a.Value = show(out)
	return a, nil
}

// A value in one line: map keys are sorted, so that it is the same each time.
func show(v ref.Val) string {
	switch v := v.(type) {
	case types.Bool, types.Int:
		return fmt.Sprint(v)
	case types.Uint:
		return fmt.Sprintf("%du", uint64(v))
	case types.Double:
		return "double " + strconv.FormatFloat(float64(v), 'e', -1, 64)
	case types.String:
		return quote(string(v))
	case types.Bytes:
		return "bytes " + base64.StdEncoding.EncodeToString(v)
	case types.Null:
		return "null"
	case types.Duration:
		return "duration " + strconv.FormatInt(int64(v.Duration), 10)
	case types.Timestamp:
		return "timestamp " + v.UTC().Format(time.RFC3339Nano)
	case *types.Optional:
		if !v.HasValue() {
			return "optional.none"
		}
		return "optional(" + show(v.GetValue()) + ")"
	case *types.Type:
		return "type " + v.TypeName()
	case apiservercel.Quantity:
		return "quantity " + decimal(*v.Quantity)
	case *apiservercel.Quantity:
		return "quantity " + decimal(*v.Quantity)
	case apiservercel.URL:
		return "url " + v.URL.String()
	case apiservercel.IP:
		return "ip " + v.Addr.String()
	case apiservercel.CIDR:
		return "cidr " + v.Prefix.String()
	case apiservercel.Semver:
		return "semver " + v.Version.String()
	case apiservercel.Format:
		return "format " + v.Name
	case *types.Err:
		return "error " + v.String()
	case traits.Lister:
		parts := []string{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, show(it.Next()))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case traits.Mapper:
		parts := []string{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			if k == nil {
				continue
			}
			parts = append(parts, show(k)+": "+show(v.Get(k)))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	}
	if v == nil {
		return "nothing"
	}
	return "other " + v.Type().TypeName()
}

// A quantity without its suffix.
func decimal(q resource.Quantity) string {
	q = q.DeepCopy()
	text := q.AsDec().String()
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

func errors(list field.ErrorList) (out []fieldError) {
	for _, e := range list {
		out = append(out, fieldError{string(e.Type), e.Field, e.Detail, e.Error()})
	}
	return out
}

func (q question) crd() (a answer, err error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := json.Unmarshal(q.Crd, &crd); err != nil {
		return a, err
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &internal, nil); err != nil {
		return a, err
	}
	for _, v := range internal.Spec.Versions {
		if v.Storage {
			internal.Status.StoredVersions = []string{v.Name}
		}
	}
	a.Errors = errors(validation.ValidateCustomResourceDefinition(context.Background(), &internal))
	return a, nil
}

// The costs of each rule of a schema, as the validator for objects compiles them.
func costs(s *structuralschema.Structural, decl *apiservercel.DeclType, path string, out *[]ruleCost) {
	if decl == nil {
		return
	}
	results, err := cel.Compile(s, decl, celconfig.PerCallLimit, base, cel.StoredExpressionsEnvLoader())
	if err != nil {
		*out = append(*out, ruleCost{Path: path, Error: err.Error()})
	}
	for i, r := range results {
		c := ruleCost{Path: path, Rule: i, Cost: r.MaxCost, Cardinality: r.MaxCardinality, Message: r.MessageExpressionMaxCost}
		if r.Error != nil {
			c.Error = r.Error.Detail
		}
		if r.MessageExpressionError != nil {
			c.MessageError = r.MessageExpressionError.Detail
		}
		*out = append(*out, c)
	}
	if s.Items != nil {
		costs(s.Items, decl.ElemType, path+".items", out)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		costs(s.AdditionalProperties.Structural, decl.ElemType, path+".additionalProperties", out)
	}
	names := []string{}
	for name := range s.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		sub := s.Properties[name]
		if escaped, ok := apiservercel.Escape(name); ok {
			if f, ok := decl.Fields[escaped]; ok {
				costs(&sub, f.Type, path+"."+name, out)
			}
		} else {
			costs(&sub, model.SchemaDeclType(&sub, sub.XEmbeddedResource), path+"."+name, out)
		}
	}
}

func (q question) validate() (a answer, err error) {
	s, err := structural(q.Schema)
	if err != nil {
		return a, err
	}
	self, err := value(q.Self)
	if err != nil {
		return a, err
	}
	old, err := value(q.Old)
	if err != nil {
		return a, err
	}
	budget := q.Budget
	if budget == 0 {
		budget = celconfig.RuntimeCELCostBudget
	}
	limit := q.Limit
	if limit == 0 {
		limit = celconfig.PerCallLimit
	}
	validator := cel.NewValidator(s, true, limit)
	if validator == nil {
		a.Remaining = budget
		return a, nil
	}
	var options []cel.Option
	if old != nil {
		options = append(options, cel.WithRatcheting(common.NewCorrelatedObject(self, old, &model.Structural{Structural: s})))
	}
	list, remaining := validator.Validate(context.Background(), nil, s, self, old, budget, options...)
	a.Errors, a.Remaining = errors(list), remaining
	return a, nil
}

func decls() (a answer) {
	env := base.StoredExpressionsEnv()
	for name, fn := range env.Functions() {
		for i, o := range fn.OverloadDecls() {
			args := []string{}
			for _, arg := range o.ArgTypes() {
				args = append(args, arg.String())
			}
			style := "global"
			if o.IsMemberFunction() {
				style = "member"
			}
			a.Lines = append(a.Lines, fmt.Sprintf("%s\t%03d\t%s\t%s\t%s\t%s", name, i, o.ID(), style, strings.Join(args, "; "), o.ResultType()))
		}
	}
	sort.Strings(a.Lines)
	for _, v := range env.Variables() {
		a.Lines = append(a.Lines, fmt.Sprintf("var %s\t%s", v.Name(), v.Type()))
	}
	return a
}

func (q question) answer() (a answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			a, err = answer{}, fmt.Errorf("panic: %v", r)
		}
	}()
	switch q.Op {
	case "decls":
		return decls(), nil
	case "eval":
		return q.eval()
	case "crd":
		return q.crd()
	case "costs":
		s, err := structural(q.Schema)
		if err != nil {
			return a, err
		}
		costs(s, model.SchemaDeclType(s, true), "", &a.Costs)
		return a, nil
	case "validate":
		return q.validate()
	}
	return a, fmt.Errorf("no operation %q", q.Op)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<28)
	out := bufio.NewWriter(os.Stdout)
	for in.Scan() {
		var q question
		var a answer
		err := json.Unmarshal(in.Bytes(), &q)
		if err == nil {
			a, err = q.answer()
		}
		if err != nil {
			a.Bad = err.Error()
		}
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(a); err != nil {
			panic(err)
		}
		out.Flush()
	}
}
