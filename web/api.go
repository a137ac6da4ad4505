package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/thermo"
)

// schema names the version of the documents.
const schema = "kelvin/v1"

var errNoSeries = errors.New("no such series")

// A runItem is a run in the list.
type runItem struct {
	ID       string   `json:"id" doc:"its path below the folder that is served"`
	State    string   `json:"state" enum:"running,finished,stopped"`
	Step     int64    `json:"step" doc:"of the last record"`
	Time     float64  `json:"time" doc:"of the last record, seconds since 1970"`
	Loss     *float64 `json:"loss" doc:"last that was recorded; null when there is none, or it is not finite"`
	Diverged bool     `json:"diverged" doc:"whether the last loss recorded is NaN or infinite"`

	Temperature    *float64 `json:"temperature" doc:"mean over its last records, as kelvin watch reads it, energy/nat; null where it is not known, or not yet"`
	TemperatureErr *float64 `json:"temperature_stderr"`
	TemperatureWhy string   `json:"temperature_reason" doc:"why it is not valid"`
}

func newItem(id string, s run.Summary) runItem {
	item := runItem{ID: id, State: string(s.State), Step: s.Step, Time: s.Time, Diverged: s.Diverged}
	if finite(s.Loss) {
		item.Loss = &s.Loss
	}
	return item
}

// A runList is the body of GET /api/runs.
type runList struct {
	Schema string    `json:"schema"`
	Root   string    `json:"root" doc:"name of the folder"`
	Runs   []runItem `json:"runs" doc:"those that changed last first"`

	Warning string `json:"warning" doc:"what runs are left out, and why"`
}

// A runDocument is the body of GET /api/run.
type runDocument struct {
	Schema      string          `json:"schema"`
	Run         runItem         `json:"run"`
	Model       json.RawMessage `json:"model" doc:"its model.json"`
	First       int64           `json:"first" doc:"step of the first record"`
	Last        int64           `json:"last"`
	Quantities  []quantity      `json:"quantities"`
	Parameters  map[string]int  `json:"parameters" doc:"number of parameters of each layer, where known"`
	Checkpoints []int64         `json:"checkpoints" doc:"steps whose weights are kept"`
	Events      []event         `json:"events" doc:"findings, notes, checkpoints"`
	Now         now             `json:"now" doc:"what the last records say, as kelvin watch reads them"`
	Findings    []finding       `json:"findings" doc:"what the last records say is wrong, as kelvin watch finds it"`
	Warning     string          `json:"warning" doc:"what of the records could not be read"`
}

// A now is what the last records of a run say: readings over the monitor's window.
type now struct {
	From        int64   `json:"from" doc:"first step of the window"`
	Step        int64   `json:"step" doc:"last of it"`
	Energy      reading `json:"energy"`
	Temperature reading `json:"temperature" doc:"by the virial thermometer"`
	Kinetic     reading `json:"kinetic" doc:"temperature by the updates of gradient descent"`
	Zeroth      string  `json:"zeroth_law" doc:"whether the two agree, in words; empty without two"`
}

func newNow(r monitor.Report) now {
	n := now{r.From, r.Step, read(r.Loss), read(r.Temperature), read(r.Kinetic), ""}
	if r.Zeroth.Compared > 1 {
		n.Zeroth = string(r.Zeroth.Verdict) + ": " + r.Zeroth.Reason
	}
	return n
}

// A finding is one of the monitor, with the steps of the window it was found in and
// what shows it.
type finding struct {
	thermo.Finding
	From     int64  `json:"from" doc:"first step of the records that it was found in"`
	Step     int64  `json:"step" doc:"last of them"`
	Quantity string `json:"quantity" doc:"what it was read from, where the run shows that: of its layer, of the system or of all layers"`
}

// shownBy names the quantity that shows a finding.
var shownBy = map[string]string{
	"divergence": "loss", "equilibrium": "loss", "too-hot": "overshoot", "frozen-layer": "update_norm2", "collapsing-layer": "weight_norm",
	"dead-units": "dead", "saturated-units": "saturated", "signal-energy": "energy_in", "noise-dominated": "gradient_norm2",
}

type event struct {
	Step  int64   `json:"step"`
	Time  float64 `json:"time"`
	Kind  string  `json:"kind"`
	Layer string  `json:"layer"`
	Text  string  `json:"text"`
}

type runInput struct {
	Run string `query:"run" required:"true" doc:"id of a run"`
}

type seriesInput struct {
	Run   string `query:"run" required:"true" doc:"id of a run"`
	Layer string `query:"layer" doc:"a layer; empty for the whole system"`
	Name  string `query:"name" required:"true" doc:"a quantity"`
	Window
}

// A Window is what part of a run to show, and how finely.
type Window struct {
	From    int64 `query:"from" doc:"first step"`
	To      int64 `query:"to" default:"9007199254740991" doc:"last step"`
	Columns int   `query:"columns" default:"300" minimum:"1" maximum:"4000" doc:"at most so many intervals; fewer where there would be fewer than eight records in each"`
}

func (w Window) check() error {
	if w.From > w.To {
		return huma.Error422UnprocessableEntity(fmt.Sprintf("from %d to %d: expected the first step before the last", w.From, w.To))
	}
	return nil
}

// A seriesDocument is the body of GET /api/series.
type seriesDocument struct {
	Schema string `json:"schema"`
	Curve
}

// A Curve is a curve: what is embedded is only in the schema if its name is exported.
type Curve = curve

// A layersDocument is the body of GET /api/layers.
type layersDocument struct {
	Schema string   `json:"schema"`
	Layers []string `json:"layers"`
	Curves []*curve `json:"curves"`
}

func (s *Server) routes(api huma.API) {
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Errors: ofReading}
	}
	runs := get("runs", "/api/runs", "List the runs")
	runs.Errors = ofAll
	huma.Register(api, runs, s.listRuns)
	huma.Register(api, get("run", "/api/run", "Describe a run"), s.describe)
	huma.Register(api, get("series", "/api/series", "One quantity of one layer, or of the system, along a run"), s.series)
	huma.Register(api, get("layers", "/api/layers", "One quantity of every layer along a run"), s.layers)
	huma.Register(api, get("transitions", "/api/transitions", "Phase transitions along a run"), s.transitions)
	huma.Register(api, get("spectra", "/api/spectra", "Singular values of the weight matrices of a checkpoint"), s.spectra)
	huma.Register(api, get("spending", "/api/spending", "What a run that recorded its power got for its energy"), s.spending)
	huma.Register(api, huma.Operation{OperationID: "create", Method: http.MethodPut, Path: "/api/run", Summary: "Create a run to write to, or find where to go on", Errors: ofWriting, MaxBodyBytes: 1 << 20, BodyReadTimeout: s.bodyTime}, s.create)
	document(api)
}

type body[T any] struct{ Body T }

func (s *Server) listRuns(ctx context.Context, _ *struct{}) (*body[runList], error) {
	return &body[runList]{runList{schema, s.store.name(), s.store.list(), s.store.warning()}}, nil
}

// open runs f on the index of a run.
func (s *Server) open(id string, f func(v *view, item runItem, warning string) error) error {
	e, dir, err := s.store.find(id)
	if err != nil {
		return failure(err)
	}
	index, warning, err := s.store.index(id)
	if err != nil {
		return failure(err)
	}
	defer index.Close()
	v, err := newView(index, dir, s.store.memory)
	if err != nil {
		return failure(err)
	}
	s.store.mu.Lock()
	item := newItem(id, e.summary)
	s.store.mu.Unlock()
	return failure(f(v, item, warning))
}

// failure gives an error its HTTP status.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(huma.StatusError)):
		return err
	case errors.Is(err, errNoRun), errors.Is(err, errNoSeries):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, errIndexing), errors.Is(err, errLooking):
		return huma.Error503ServiceUnavailable(err.Error() + ": ask again")
	}
	return huma.Error422UnprocessableEntity(err.Error())
}

func (s *Server) describe(ctx context.Context, in *runInput) (*body[runDocument], error) {
	var d runDocument
	err := s.open(in.Run, func(v *view, item runItem, warning string) (err error) {
		d, err = v.document(item, warning)
		return err
	})
	return &body[runDocument]{d}, err
}

// document describes the run.
func (v *view) document(item runItem, warning string) (runDocument, error) {
	d := runDocument{Schema: schema, Run: item, First: v.first, Last: v.last, Quantities: v.quantities(),
		Parameters: map[string]int{}, Checkpoints: []int64{}, Events: []event{}, Findings: []finding{}, Warning: warning}
	events, err := v.Events()
	if err != nil {
		return d, err
	}
	for _, e := range events {
		d.Events = append(d.Events, event{e.Step, e.Time, e.Kind, e.Layer, e.Text})
	}
	for layer, k := range v.sizes {
		d.Parameters[layer] = int(k)
	}
	kept, err := run.Checkpoints(v.dir)
	if err != nil {
		return d, err
	}
	for _, c := range kept {
		d.Checkpoints = append(d.Checkpoints, c.Step)
	}
	report, err := monitor.ReadRecent(v.dir)
	if err != nil {
		return d, err
	}
	d.Now = newNow(report)
	for _, x := range report.Findings {
		d.Findings = append(d.Findings, finding{x, report.From, report.Step, shownBy[x.ID]})
	}
	return d, run.Model(v.dir, &d.Model)
}

func (s *Server) series(ctx context.Context, in *seriesInput) (*body[seriesDocument], error) {
	d := seriesDocument{Schema: schema}
	err := in.check()
	if err != nil {
		return nil, err
	}
	err = s.open(in.Run, func(v *view, _ runItem, _ string) error {
		c, err := v.curve(in.Layer, in.Name, in.From, in.To, in.Columns)
		if err == nil {
			d.Curve = *c
		}
		return err
	})
	return &body[seriesDocument]{d}, err
}

func (s *Server) layers(ctx context.Context, in *struct {
	Run  string `query:"run" required:"true" doc:"id of a run"`
	Name string `query:"name" required:"true" doc:"a quantity"`
	Window
}) (*body[layersDocument], error) {
	var d layersDocument
	err := in.check()
	if err != nil {
		return nil, err
	}
	err = s.open(in.Run, func(v *view, _ runItem, _ string) (err error) {
		d, err = v.layersOf(in.Name, in.Window)
		if err == nil && len(d.Layers) == 0 {
			err = fmt.Errorf("%q of any layer: %w", in.Name, errNoSeries)
		}
		return err
	})
	return &body[layersDocument]{d}, err
}

// layersOf returns a quantity of all layers that have it.
func (v *view) layersOf(name string, w Window) (layersDocument, error) {
	d := layersDocument{Schema: schema, Layers: []string{}, Curves: []*curve{}}
	for _, layer := range v.layers {
		if !v.has(layer, name) {
			continue
		}
		c, err := v.curve(layer, name, w.From, w.To, w.Columns)
		if err != nil {
			return d, err
		}
		d.Layers, d.Curves = append(d.Layers, layer), append(d.Curves, c)
	}
	return d, nil
}

// refuse answers a request outside huma as huma does.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var known huma.StatusError
	if errors.As(err, &known) {
		status = known.GetStatus()
	}
	answer(w, status, err.Error())
}

// answer writes an error document.
func answer(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

// changes tells a page what changes, as server-sent events, until it goes away.
func (s *Server) changes(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	messages, leave := s.hub.join()
	defer leave()
	fmt.Fprintf(w, "retry: 1000\nevent: hello\ndata: {}\n\n")
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for control.SetWriteDeadline(time.Now().Add(writeTime)) == nil && control.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case message := <-messages:
			fmt.Fprintf(w, "event: runs\ndata: %s\n\n", message)
		case <-alive.C:
			fmt.Fprint(w, ": alive\n\n")
		}
	}
}
