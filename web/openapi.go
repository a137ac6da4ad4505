package web

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

func init() { huma.DefaultArrayNullable = false } // lists without anything in them are [], never null

// secure describes the token, which a server on loopback does without.
func secure(config *huma.Config) {
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":  {Type: "http", Scheme: "bearer", Description: "KELVIN_TOKEN of the server, or the one that it printed"},
		"cookie": {Type: "apiKey", In: "cookie", Name: cookie, Description: "set by /?token=…"},
	}
	config.Security = []map[string][]string{{"token": {}}, {"cookie": {}}, {}}
}

// Statuses that an operation may have besides 200: of all, of those that read a
// run, and of those that write one.
var (
	ofAll     = []int{http.StatusUnauthorized, http.StatusMisdirectedRequest}
	ofReading = append(ofAll, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	ofWriting = append(ofAll, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusLocked, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusInsufficientStorage)
)

// document describes the operations that are not JSON in, JSON out.
func document(api huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	parameter := func(name, doc string, schema *huma.Schema) *huma.Param {
		return &huma.Param{Name: name, In: "query", Required: true, Description: doc, Schema: schema}
	}
	content := func(kind string, schema *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: schema}}
	}
	schemas := api.OpenAPI().Components.Schemas
	problem := content("application/problem+json", schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, ""))
	offset := content("application/json", schemas.Schema(reflect.TypeFor[offsetDocument](), true, ""))
	responses := func(doc string, body map[string]*huma.MediaType, others []int) map[string]*huma.Response {
		list := map[string]*huma.Response{"200": {Description: doc, Content: body}}
		for _, status := range others {
			list[fmt.Sprint(status)] = &huma.Response{Description: http.StatusText(status), Content: problem}
		}
		return list
	}
	run := parameter("run", "id of a run", text)
	layer := parameter("layer", "a layer; empty for the whole system", text)
	layer.Required = false
	least := 0.0
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "changes", Method: http.MethodGet, Path: "/api/changes",
		Summary:   "Server-sent events: event \"runs\" names the runs that changed (none: many)",
		Responses: responses("events", content("text/event-stream", text), ofAll)})
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "csv", Method: http.MethodGet, Path: "/api/series.csv",
		Summary:    "Every value of a series",
		Parameters: []*huma.Param{run, layer, parameter("name", "a quantity", text)},
		Responses:  responses("step, value", content("text/csv", text), ofReading)})
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "report", Method: http.MethodGet, Path: "/api/report",
		Summary:    "The page of a run as one file, which needs no server",
		Parameters: []*huma.Param{run},
		Responses:  responses("the page", content("text/html", text), ofReading)})
	records := responses("all of it is safe", offset, ofWriting)
	records["409"] = &huma.Response{Description: "records before it are missing: go on from the offset", Content: offset}
	api.OpenAPI().AddOperation(&huma.Operation{OperationID: "records", Method: http.MethodPost, Path: "/api/records",
		Summary:     "Append records: a piece of the writer's own events.jsonl, in whole lines",
		Parameters:  []*huma.Param{run, parameter("offset", "bytes of the writer's stream before this piece", &huma.Schema{Type: huma.TypeInteger, Minimum: &least})},
		RequestBody: &huma.RequestBody{Required: true, Content: content("application/x-ndjson", text)},
		Responses:   records})
}
