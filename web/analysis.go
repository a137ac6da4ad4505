package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/spectrum"
	"github.com/kelvin-ml/kelvin/thermo"
)

// A reading is a thermo.Reading as it is served.
type reading struct {
	Value  *float64 `json:"value"`
	StdErr *float64 `json:"stderr"`
	Unit   string   `json:"unit"`
	Valid  bool     `json:"valid"`
	Reason string   `json:"reason" doc:"why it is not valid"`
}

func read(r thermo.Reading) reading {
	out := reading{Unit: r.Unit, Valid: r.Valid(), Reason: r.Invalid}
	if finite(r.Value) {
		out.Value = &r.Value
	}
	if finite(r.StdErr) {
		out.StdErr = &r.StdErr
	}
	return out
}

// A transitionsDocument is the body of GET /api/transitions.
type transitionsDocument struct {
	Schema string `json:"schema"`
	Covered
	LookedAt    int          `json:"looked_at" doc:"curves that were looked at"`
	Transitions []transition `json:"transitions"`
	Reason      string       `json:"reason" doc:"why there can be none"`
}

// A transition is a sudden change of a run, as kelvin transitions finds it.
type transition struct {
	First   int64    `json:"first"`
	Last    int64    `json:"last"`
	Kind    string   `json:"kind"`
	Driven  string   `json:"driven" doc:"what was changed from outside at that moment"`
	P       float64  `json:"p" doc:"corrected for all places that were looked at"`
	Heat    reading  `json:"latent_heat"`
	Changes []change `json:"changes"`
}

type change struct {
	Name   string  `json:"name"`
	Layer  string  `json:"layer"`
	Before reading `json:"before"`
	After  reading `json:"after"`
	Kind   string  `json:"kind"`
	P      float64 `json:"p"`
}

// Covered says what was recorded when an analysis began: it is of all that.
// Its name is exported for the schema.
type Covered struct {
	First int64 `json:"first" doc:"step of the first record that was looked at"`
	Last  int64 `json:"last" doc:"step of the last; the run may have grown since"`
}

func coveredBy(dir string) (c Covered, err error) {
	index, _, err := run.OpenIndex(dir)
	if err != nil {
		return c, err
	}
	defer index.Close()
	c.First, c.Last, err = index.Steps()
	return c, err
}

// findTransitions looks for phase transitions along the run in dir.
func findTransitions(ctx context.Context, dir string) (any, error) {
	d := transitionsDocument{Schema: schema, Transitions: []transition{}}
	var h *monitor.History
	var err error
	if d.Covered, err = coveredBy(dir); err == nil {
		h, err = monitor.ReadTransitions(ctx, dir)
	}
	if err == nil && len(h.Transitions) > 0 {
		h, err = monitor.ReadHistory(ctx, dir) // their latent heats
	}
	if err == nil && len(h.Curves) == 0 {
		err = errors.New("nothing is recorded of the whole run")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		d.Reason = err.Error() // that is an answer
		return d, nil
	}
	d.LookedAt = len(h.Curves)
	for _, t := range h.Transitions {
		row := transition{First: t.First, Last: t.Last, Kind: t.Kind, Driven: t.Driven, P: t.P, Heat: read(t.States.Heat), Changes: []change{}}
		for _, c := range t.Changes {
			curve := h.Curves[c.Curve]
			row.Changes = append(row.Changes, change{curve.Name, curve.Layer, read(c.Before), read(c.After), c.Kind(), c.P})
		}
		d.Transitions = append(d.Transitions, row)
	}
	return d, nil
}

// A spectraDocument is the body of GET /api/spectra.
type spectraDocument struct {
	Schema   string   `json:"schema"`
	Step     int64    `json:"step" doc:"of the checkpoint"`
	Matrices []matrix `json:"matrices"`
	Charts   []any    `json:"charts" doc:"a picture of each matrix, as pages draw it"`
	Text     string   `json:"text"`
	Table    any      `json:"table" doc:"columns and rows, as pages draw them"`
}

// A matrix is what a spectrum says of one weight matrix.
type matrix struct {
	Name         string  `json:"name"`
	Shape        []int   `json:"shape"`
	SpectralNorm reading `json:"spectral_norm"`
	StableRank   reading `json:"stable_rank"`
	Entropy      reading `json:"entropy"`
	Outliers     int     `json:"outliers" doc:"eigenvalues beyond those of a random matrix"`
	Alpha        reading `json:"alpha" doc:"exponent of the tail"`
}

// mostSpectra bounds the matrices of a checkpoint that are measured.
const mostSpectra = 200

// measureSpectra reads the weight matrices of a checkpoint.
func measureSpectra(ctx context.Context, c run.Checkpoint) (any, error) {
	f, err := checkpoint.Open(c.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := spectraDocument{Schema: schema, Step: c.Step, Matrices: []matrix{}, Charts: []any{}}
	table := report.Table{
		Columns: []string{"matrix", "shape", "σ max (θ)", "stable rank (1)", "entropy (nat)", "outliers (count)", "alpha (1)", "tail"}, Words: map[int]bool{1: true, 7: true}}
	left := 0
	for _, t := range f.Tensors {
		views := spectrum.Views(t)
		if len(views) == 0 {
			continue
		}
		if len(d.Matrices) == mostSpectra {
			left++
			continue
		}
		s, err := spectrum.Measure(ctx, t, views[0], spectrum.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
		d.Matrices = append(d.Matrices, matrix{s.Name, s.Shape, read(s.SpectralNorm), read(s.StableRank), read(s.Entropy), s.Bulk.Outliers, read(s.Alpha.Reading)})
		alpha, tail := "–", s.Alpha.Invalid
		if s.Alpha.Tail > 0 {
			alpha = thermo.FormatError(s.Alpha.Value, s.Alpha.StdErr)
		}
		if s.Alpha.Valid() {
			tail = "a power law"
		}
		table.Rows = append(table.Rows, []string{s.Name, strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Shape), "[]"), " ", "×"),
			estimate(s.SpectralNorm), estimate(s.StableRank), estimate(s.Entropy), fmt.Sprint(s.Bulk.Outliers), alpha, tail})
		if s.SpectralNorm.Value > 0 {
			d.Charts = append(d.Charts, report.SpectrumChart(s.Name, s))
		}
	}
	d.Table = table
	d.Text = fmt.Sprintf("Weight matrices of the checkpoint of step %d: %d.", c.Step, len(d.Matrices))
	if left > 0 {
		d.Text += fmt.Sprintf(" %d more are left out: kelvin spectrum reads them all.", left)
	}
	return d, nil
}

// estimate writes a reading with its error, which is 0 where it is exact.
func estimate(r thermo.Reading) string {
	if r.StdErr == 0 {
		return fmt.Sprintf("%.4g", r.Value)
	}
	return thermo.FormatError(r.Value, r.StdErr)
}

// A spendingDocument is the body of GET /api/spending.
type spendingDocument struct {
	Schema string `json:"schema"`
	Covered
	Energy   reading         `json:"energy"`
	PerLoss  reading         `json:"joules_per_nat"`
	After    reading         `json:"energy_after_stop"`
	Stopped  bool            `json:"stopped" doc:"whether the loss stopped falling"`
	StopStep int64           `json:"stop_step"`
	Figures  []report.Figure `json:"figures"`
	Charts   []any           `json:"charts"`
	Reason   string          `json:"reason" doc:"why it is not known"`
}

// findSpending divides the energy that the run in dir took by what it got for it,
// as kelvin energy efficiency does.
func findSpending(ctx context.Context, dir string) (any, error) {
	d := spendingDocument{Schema: schema, Figures: []report.Figure{}, Charts: []any{}}
	var history *power.History
	var err error
	if d.Covered, err = coveredBy(dir); err == nil {
		history, err = power.ReadHistory(dir)
	}
	if err == nil {
		var trace power.Trace
		if trace, err = power.ReadRecords(dir); err == nil {
			err = d.read(history, trace)
		}
	}
	if err != nil {
		d.Reason = err.Error()
	}
	return d, ctx.Err()
}

func (d *spendingDocument) read(h *power.History, trace power.Trace) error {
	if len(trace.Time) < 2 {
		return errors.New("fewer than two readings of the power are recorded")
	}
	s, err := power.Spend(h, []power.Trace{trace})
	if err != nil {
		return err
	}
	unit := "J/nat"
	if !h.Nats {
		unit = "J per unit of loss"
	}
	s.PerLoss.Unit = unit
	d.Energy, d.PerLoss, d.After, d.Stopped, d.StopStep = read(s.Total), read(s.PerLoss), read(s.After), s.Stopped, s.StopStep
	d.Figures = []report.Figure{report.FigureOf("energy taken", s.Total), report.FigureOf("price of the loss removed", s.PerLoss)}
	if share := s.After.Value / s.Total.Value; s.Stopped && share >= 0.1 {
		after := report.FigureOf("taken after the loss stopped falling", s.After)
		after.Note = fmt.Sprintf("%.0f %% of all, since step %d", 100*share, s.StopStep)
		d.Figures = append(d.Figures, after)
	}
	line := report.Line{Name: "energy"}
	const points = 300
	for i := range points {
		k := i * (len(h.Step) - 1) / (points - 1)
		if i > 0 && float64(h.Step[k]) == line.X[len(line.X)-1] {
			continue
		}
		use, err := trace.Energy(h.Time[0], math.Max(h.Time[k], h.Time[0]))
		if err != nil {
			return err
		}
		line.X, line.Y, line.Band = append(line.X, float64(h.Step[k])), append(line.Y, use.Joules), append(line.Band, 2*use.StdErr)
	}
	chart := report.LineChart{Caption: "Energy taken so far", X: "step (count)", Y: "energy taken (J)", Lines: []report.Line{line}}
	if s.Stopped {
		chart.Marks = []report.Mark{{Name: "the loss stopped falling", From: float64(s.StopStep), To: float64(s.StopStep)}}
	}
	d.Charts = []any{chart}
	return nil
}

// A version is the size and the time of the last change, in nanoseconds since
// 1970, of the file that an analysis is made of.
type version struct{ size, changed int64 }

// An analysis is something that takes long to find.
type analysis struct {
	of      version
	value   any
	err     error
	took    time.Duration
	ended   time.Time     // zero: never
	running chan struct{} // closed when it ends; nil when it is neither running nor due

	wanted version // what is looked for next, and how
	look   look
}

type look func(ctx context.Context) (any, error)

// analyses keeps what was found. One is looked for at a time, and that of a run
// that grows anew only so often that it takes a twentieth of one core: what was
// found before is the answer meanwhile, and whoever got it is told when there is
// a newer one.
type analyses struct {
	news    func(id string) // an answer that was old is no longer
	soonest time.Duration   // after the last time it was looked for
	mu      sync.Mutex
	known   map[string]*analysis
	one     chan struct{}
	ctx     context.Context
	stop    context.CancelFunc
	working sync.WaitGroup
}

const (
	mostAnalyses = 256
	seldom       = 20 // times what it takes
)

func newAnalyses(news func(id string)) *analyses {
	a := &analyses{news: news, soonest: 5 * time.Second, known: map[string]*analysis{}, one: make(chan struct{}, 1)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a
}

// close ends what is running, and waits for it.
func (a *analyses) close() {
	a.stop()
	a.working.Wait()
}

// find returns what f finds of a version of a run, or what was found of an earlier
// one while f waits for its turn. The error is errLooking while there is nothing yet.
func (a *analyses) find(ctx context.Context, key, id string, of version, f look) (any, error) {
	a.mu.Lock()
	x := a.known[key]
	if x == nil {
		a.forget()
		x = &analysis{}
		a.known[key] = x
	}
	if x.ended.IsZero() || x.of != of {
		x.wanted, x.look = of, f
		if x.running == nil && a.ctx.Err() == nil {
			x.running = make(chan struct{})
			a.working.Add(1)
			go a.run(x, id, time.Until(x.ended.Add(max(a.soonest, seldom*x.took))))
		}
	}
	running, value, err, known := x.running, x.value, x.err, !x.ended.IsZero()
	a.mu.Unlock()
	if known {
		return value, err
	}
	select {
	case <-running:
		a.mu.Lock()
		defer a.mu.Unlock()
		return x.value, x.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(patience):
		return nil, errLooking
	}
}

// run looks for what is wanted of x when it is due and the one before is done.
func (a *analyses) run(x *analysis, id string, due time.Duration) {
	defer a.working.Done()
	timer := time.NewTimer(due)
	defer timer.Stop()
	var value any
	var began time.Time
	var of version
	err := context.Canceled
	select {
	case <-timer.C:
		select {
		case a.one <- struct{}{}:
			a.mu.Lock()
			began, of = time.Now(), x.wanted
			f := x.look
			a.mu.Unlock()
			value, err = f(a.ctx)
			<-a.one
		case <-a.ctx.Done():
		}
	case <-a.ctx.Done():
	}
	a.mu.Lock()
	told := !x.ended.IsZero()
	if !began.IsZero() {
		x.value, x.err, x.of, x.ended, x.took = value, err, of, time.Now(), time.Since(began)
	}
	close(x.running)
	x.running = nil
	a.mu.Unlock()
	if told && !began.IsZero() {
		a.news(id)
	}
}

// forget makes room: the analysis that is oldest goes.
func (a *analyses) forget() {
	if len(a.known) < mostAnalyses {
		return
	}
	oldest := ""
	for key, x := range a.known {
		if x.running == nil && (oldest == "" || x.ended.Before(a.known[oldest].ended)) {
			oldest = key
		}
	}
	delete(a.known, oldest)
}

// errLooking says that an analysis is not ready yet.
var errLooking = errors.New("it is being computed")

// analyse returns an analysis of a run, once its records are read.
func (s *Server) analyse(ctx context.Context, id, what string, f func(ctx context.Context, dir string) (any, error)) (any, error) {
	index, _, err := s.store.index(id)
	if err != nil {
		return nil, failure(err)
	}
	var of version
	of.size, of.changed, err = index.Seen()
	index.Close()
	if err != nil {
		return nil, failure(err)
	}
	_, dir, err := s.store.find(id)
	if err != nil {
		return nil, failure(err)
	}
	// Another run of the same name does not get the answer of the one before.
	info, err := os.Stat(filepath.Join(dir, "model.json"))
	if err != nil {
		return nil, failure(err)
	}
	key := fmt.Sprint(what, " ", id, " ", info.ModTime().UnixNano())
	value, err := s.analyses.find(ctx, key, id, of, func(ctx context.Context) (any, error) { return f(ctx, dir) })
	return value, failure(err)
}

func (s *Server) transitions(ctx context.Context, in *runInput) (*body[transitionsDocument], error) {
	return typed[transitionsDocument](s.analyse(ctx, in.Run, "transitions", findTransitions))
}

func (s *Server) spending(ctx context.Context, in *runInput) (*body[spendingDocument], error) {
	return typed[spendingDocument](s.analyse(ctx, in.Run, "spending", findSpending))
}

type spectraInput struct {
	Run  string `query:"run" required:"true" doc:"id of a run"`
	Step int64  `query:"step" default:"-1" doc:"of a checkpoint; the last if it is not given"`
}

func (s *Server) spectra(ctx context.Context, in *spectraInput) (*body[spectraDocument], error) {
	_, dir, err := s.store.find(in.Run)
	if err != nil {
		return nil, failure(err)
	}
	c, err := checkpointOf(dir, in.Step)
	if err != nil {
		return nil, failure(err)
	}
	info, err := os.Stat(c.Path)
	if err != nil {
		return nil, failure(err)
	}
	// The weights of a checkpoint do not change when records come, but it may be
	// written anew, and then what was found is not of these weights.
	of := version{info.Size(), info.ModTime().UnixNano()}
	key := fmt.Sprint("spectra ", in.Run, " ", c.Step, " ", of)
	value, err := s.analyses.find(ctx, key, in.Run, of, func(ctx context.Context) (any, error) { return measureSpectra(ctx, c) })
	return typed[spectraDocument](value, failure(err))
}

// checkpointOf returns the checkpoint of a step, the last if it is negative.
func checkpointOf(dir string, step int64) (run.Checkpoint, error) {
	list, err := run.Checkpoints(dir)
	if err != nil {
		return run.Checkpoint{}, err
	}
	if step < 0 && len(list) > 0 {
		return list[len(list)-1], nil
	}
	i := slices.IndexFunc(list, func(c run.Checkpoint) bool { return c.Step == step })
	if i < 0 {
		return run.Checkpoint{}, fmt.Errorf("checkpoint of step %d: %w", step, errNoSeries)
	}
	return list[i], nil
}

func typed[T any](value any, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{value.(T)}, nil
}
