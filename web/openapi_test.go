package web

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kelvin-ml/kelvin/run"
)

// object is a JSON object.
type object = map[string]any

// A schemas checks values against the JSON schemas of an OpenAPI document.
type schemas struct{ document object }

// problem returns what of a value is not as a schema says, or "".
func (s schemas) problem(at string, schema object, x any) string {
	for key := range schema {
		switch key {
		case "$ref", "type", "enum", "properties", "required", "additionalProperties", "items", "minimum", "maximum", "description", "format", "default", "examples":
		default:
			return fmt.Sprintf("%s: the schema has %q, which this test does not know", at, key)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		to := any(s.document)
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			if to, ok = to.(object)[part]; !ok {
				return fmt.Sprintf("%s: there is no schema %s", at, ref)
			}
		}
		return s.problem(at, to.(object), x)
	}
	kind := "null"
	switch x := x.(type) {
	case object:
		kind = "object"
	case []any:
		kind = "array"
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; x == math.Trunc(x) {
			kind = "integer"
		}
	}
	var kinds []any
	switch t := schema["type"].(type) {
	case string:
		kinds = []any{t}
	case []any:
		kinds = t
	}
	if kinds != nil && !slices.Contains(kinds, any(kind)) && (kind != "integer" || !slices.Contains(kinds, "number")) {
		return fmt.Sprintf("%s is of type %s: expected %v", at, kind, kinds)
	}
	if list, ok := schema["enum"].([]any); ok && !slices.Contains(list, x) {
		return fmt.Sprintf("%s is %v: expected one of %v", at, x, list)
	}
	if low, ok := schema["minimum"].(float64); ok && x.(float64) < low {
		return fmt.Sprintf("%s is %v: expected at least %g", at, x, low)
	}
	if high, ok := schema["maximum"].(float64); ok && x.(float64) > high {
		return fmt.Sprintf("%s is %v: expected at most %g", at, x, high)
	}
	if list, ok := x.([]any); ok {
		items, _ := schema["items"].(object)
		for i, x := range list {
			if p := s.problem(fmt.Sprintf("%s[%d]", at, i), items, x); p != "" {
				return p
			}
		}
	}
	if fields, ok := x.(object); ok {
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := fields[name.(string)]; !ok {
				return fmt.Sprintf("%s has no %v", at, name)
			}
		}
		known, _ := schema["properties"].(object)
		for name, x := range fields {
			field, ok := known[name].(object)
			if !ok {
				if field, ok = schema["additionalProperties"].(object); !ok && schema["additionalProperties"] == false {
					return fmt.Sprintf("%s has %q, which is not in the schema", at, name)
				}
			}
			if p := s.problem(at+"."+name, field, x); p != "" {
				return p
			}
		}
	}
	return ""
}

// TestOpenAPI asks everything that openapi.json describes, and compares the answers
// with what it says of them: statuses, types of content and schemas.
func TestOpenAPI(t *testing.T) {
	root := t.TempDir()
	writeRich(t, filepath.Join(root, "rich"))
	writeRun(t, filepath.Join(root, "short"), 20).Close()
	for id, records := range map[string][]run.Record{"empty": nil, "nan": {{Step: 1, Kind: run.KindStep, Values: map[string]float64{"loss": math.NaN(), "power": 1}}}} {
		r, err := run.Create(filepath.Join(root, id), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Append(records...); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	const token = "0123456789abcdef"
	closed, _ := serve(t, root, "127.0.0.1:0", token)
	var s schemas
	if status, text := ask(t, "GET", "http://"+address+"/openapi.json", ""); status != 200 || json.Unmarshal([]byte(text), &s.document) != nil {
		t.Fatalf("%d %s", status, text)
	} else if strings.Contains(text, `["array","null"]`) {
		t.Error("lists may be null: expected [] where there is nothing")
	}
	type request struct {
		query, body, kind string
		want              int
		header            []string
	}
	gets := func(queries map[string]int) (list []request) {
		for query, want := range queries {
			list = append(list, request{query: query, want: want})
		}
		return list
	}
	line := `{"v":1,"t":1,"step":0,"kind":"step","loss":1}` + "\n"
	requests := map[string][]request{
		"GET /api/runs": {{want: 200}, {want: 421, header: []string{"Host", "elsewhere.example"}}},
		"GET /api/run":  gets(map[string]int{"run=rich": 200, "run=short": 200, "run=empty": 200, "run=nan": 200, "run=none": 404, "": 422, "run=..": 422}),
		"GET /api/series": gets(map[string]int{"run=rich&name=loss": 200, "run=rich&name=temperature&layer=blocks.0&columns=7": 200, "run=nan&name=loss": 200,
			"run=rich&name=loss&from=2000000": 200, "run=empty&name=loss": 404, "run=rich&name=loss&from=5&to=2": 422, "run=rich&name=loss&columns=x": 422}),
		"GET /api/layers":      gets(map[string]int{"run=rich&name=temperature": 200, "run=rich&name=nope": 404, "run=empty&name=loss": 404, "name=loss": 422}),
		"GET /api/transitions": gets(map[string]int{"run=rich": 200, "run=short": 200, "run=empty": 200, "run=nan": 200, "run=none": 404}),
		"GET /api/spectra":     gets(map[string]int{"run=rich": 200, "run=rich&step=1000": 200, "run=rich&step=3": 404, "run=rich&step=x": 422, "run=empty": 404}),
		"GET /api/spending":    gets(map[string]int{"run=rich": 200, "run=short": 200, "run=empty": 200, "run=nan": 200, "run=none": 404}),
		"GET /api/series.csv":  gets(map[string]int{"run=rich&name=loss": 200, "run=rich&name=dead": 404, "run=rich&name=virial&layer=x": 404, "run=a\\b&name=loss": 422}),
		"GET /api/report":      gets(map[string]int{"run=rich": 200, "run=empty": 200, "run=none": 404}),
		"GET /api/changes":     {{want: 200}},
		"PUT /api/run": {
			{"run=new", `{"a":1}`, "application/json", 200, nil}, {"run=new", `{"a":1}`, "application/json", 200, nil}, {"run=new", `{"a":2}`, "application/json", 422, nil},
			{"run=new/er", `{}`, "application/json", 422, nil}, {"run=newer", `[]`, "application/json", 422, nil}, {"run=newer", `{`, "application/json", 400, nil},
			{"run=newer", `{}`, "text/plain", 415, nil}, {"run=newer", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "application/json", 413, nil},
			{"run=newer", `{}`, "application/json", 403, []string{"Sec-Fetch-Site", "cross-site"}},
		},
		"POST /api/records": {
			{"run=open&offset=0", line, jsonl, 200, nil}, {"run=open&offset=0", line, jsonl, 200, nil}, {"run=open&offset=1000", line, jsonl, 409, nil},
			{"run=open&offset=0", "no record\n", jsonl, 422, nil}, {"run=open&offset=-1", line, jsonl, 422, nil}, {"run=.&offset=0", line, jsonl, 422, nil},
			{"run=open&offset=0", line, "text/plain", 415, nil}, {"run=none&offset=0", line, jsonl, 404, nil}, {"run=open&offset=0", strings.Repeat("x", maxBatch+1), jsonl, 413, nil},
			{"run=held&offset=0", line, jsonl, 423, nil},
		},
	}
	held, err := run.Create(filepath.Join(root, "held"), nil) // by a writer here
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if status, text := ask(t, "PUT", "http://"+address+"/api/run?run=open", "{}", "Content-Type", "application/json"); status != 200 {
		t.Fatal(text)
	}
	for path, item := range s.document["paths"].(object) {
		for method, operation := range item.(object) {
			method = strings.ToUpper(method)
			name := method + " " + path
			if len(requests[name]) == 0 {
				t.Errorf("%s: this test does not ask for it", name)
			}
			responses := operation.(object)["responses"].(object)
			if responses["401"] == nil {
				t.Errorf("%s: 401 is not described", name)
			}
			if status, _ := ask(t, method, "http://"+closed+path, ""); status != 401 {
				t.Errorf("%s without the token: %d", name, status)
			}
			for _, q := range requests[name] {
				status, kind, text := fetch(t, method, "http://"+address+path+"?"+q.query, q.body, append([]string{"Content-Type", q.kind}, q.header...)...)
				if len(q.body) > 100 {
					q.body = q.body[:100]
				}
				says, _ := responses[fmt.Sprint(status)].(object)
				if status != q.want || says == nil {
					t.Errorf("%s %+v: %d %s, described: %v", name, q, status, text, says)
					continue
				}
				parameters, _ := operation.(object)["parameters"].([]any)
				given, _ := url.ParseQuery(q.query)
				for _, p := range parameters {
					if p := p.(object); status == 200 && p["required"] == true && !given.Has(p["name"].(string)) {
						t.Errorf("%s?%s is answered without %s, which is said to be required", name, q.query, p["name"])
					}
				}
				media, _ := says["content"].(object)[kind].(object)
				if media == nil {
					t.Errorf("%s %+v: %d of type %s, described: %v", name, q, status, kind, says)
					continue
				}
				x := any(text)
				if strings.HasSuffix(kind, "json") {
					if err := json.Unmarshal([]byte(text), &x); err != nil {
						t.Errorf("%s %+v: %v in %s", name, q, err, text)
					}
				}
				if p := s.problem("it", media["schema"].(object), x); p != "" {
					t.Errorf("%s %+v: %s\n%.300s", name, q, p, text)
				}
			}
		}
	}
	schemes := s.document["components"].(object)["securitySchemes"].(object)
	if schemes["token"].(object)["scheme"] != "bearer" || len(s.document["security"].([]any)) != 3 {
		t.Errorf("security: %v %v", schemes, s.document["security"])
	}
}

// fetch asks until there is an answer other than 503, and returns its status, its type
// and its text, or the beginning of a stream.
func fetch(t *testing.T, method, address, body string, header ...string) (status int, kind, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r := requestOf(t, method, strings.ReplaceAll(address, `\`, "%5C"), body, header...)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if kind, _, err = mime.ParseMediaType(answer.Header.Get("Content-Type")); err != nil {
			t.Fatal(err)
		}
		var content []byte
		if kind == "text/event-stream" {
			content = make([]byte, 10)
			_, err = io.ReadFull(answer.Body, content)
		} else {
			content, err = io.ReadAll(answer.Body)
		}
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != 503 || time.Now().After(deadline) {
			return answer.StatusCode, kind, string(content)
		}
	}
}
