package web

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// document describes the operations that are not JSON in, JSON out.
func document(api huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	parameter := func(name, doc string, kind string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Required: true, Description: doc, Schema: &huma.Schema{Type: kind}}
	}
	content := func(kind string) map[string]*huma.MediaType { return map[string]*huma.MediaType{kind: {Schema: text}} }
	offset := map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"schema": text, "detail": text,
		"offset": {Type: huma.TypeInteger, Description: "bytes of the writer's stream that are safe here: go on from there"},
	}}}}
	run := parameter("run", "id of a run", huma.TypeString)
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "changes", Method: http.MethodGet, Path: "/api/changes",
		Summary:   "Server-sent events: event \"runs\" names the runs that changed (none: many)",
		Responses: map[string]*huma.Response{"200": {Description: "events", Content: content("text/event-stream")}}})
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "csv", Method: http.MethodGet, Path: "/api/series.csv",
		Summary:    "Every value of a series",
		Parameters: []*huma.Param{run, parameter("layer", "a layer; empty for the whole system", huma.TypeString), parameter("name", "a quantity", huma.TypeString)},
		Responses:  map[string]*huma.Response{"200": {Description: "step, value", Content: content("text/csv")}}})
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "report", Method: http.MethodGet, Path: "/api/report",
		Summary:    "The page of a run as one file, which needs no server",
		Parameters: []*huma.Param{run},
		Responses:  map[string]*huma.Response{"200": {Description: "the page", Content: content("text/html")}}})
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "records", Method: http.MethodPost, Path: "/api/records",
		Summary:     "Append records: a piece of the writer's own events.jsonl, in whole lines",
		Parameters:  []*huma.Param{run, parameter("offset", "bytes of the writer's stream before this piece", huma.TypeInteger)},
		RequestBody: &huma.RequestBody{Required: true, Content: content("application/x-ndjson")},
		Responses: map[string]*huma.Response{
			"200": {Description: "all of it is safe", Content: offset},
			"409": {Description: "records before it are missing", Content: offset},
		}})
}
