package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/spectrum"
)

// writeRich writes a run with all that a page can show: its learning rate drops at
// step 1500, it draws 100 W, a step a tenth of a second, and its weights are kept.
func writeRich(t *testing.T, dir string) {
	t.Helper()
	r := writeRun(t, dir, 0)
	rng := rand.New(rand.NewPCG(7, 7))
	const steps, every = 3000, 10
	var records []run.Record
	for step := 0; step < steps; step += every {
		rate, energy := 0.4, 1.0
		if step >= steps/2 {
			rate, energy = 0.02, 0.3
		}
		at := 1.7e9 + float64(step)/10
		records = append(records, run.Record{Time: at, Step: int64(step), Kind: run.KindStep, Values: map[string]float64{
			"loss": energy*(1+0.05*rng.NormFloat64()) + 2*math.Exp(-float64(step)/60), "learning_rate": rate, "power": 100}})
		for l := range 3 {
			in := math.Pow(0.8, float64(l))
			records = append(records, run.Record{Time: at, Step: int64(step), Kind: run.KindLayer, Layer: "blocks." + string(rune('0'+l)), Values: map[string]float64{
				"parameters": 100, "centred_virial": 100 * energy * (0.01*float64(l+1) + 0.002*rng.NormFloat64()), "energy_in": in, "energy_out": in * (0.7 + 0.01*rng.NormFloat64())}})
		}
	}
	records = append(records, run.Record{Time: 1.7e9 + steps/10, Step: steps - every, Kind: "end"})
	if err := r.Append(records...); err != nil {
		t.Fatal(err)
	}
	for i, step := range []int64{1000, 2990} {
		weights := make([]float32, 60*40)
		for j := range weights {
			weights[j] = float32(rng.NormFloat64())
		}
		weights[0] += 40 * float32(i)
		if err := r.Checkpoint(step, func(path string) error {
			return checkpoint.WriteSafetensors(path, []checkpoint.Named{{Name: "blocks.0.weight", Shape: []int{60, 40}, F32: weights}, {Name: "blocks.0.bias", Shape: []int{60}, F32: make([]float32, 60)}}, nil)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// told asks until there is an answer.
func told[T any](t *testing.T, address string) (d T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, text := ask(t, "GET", address, "")
		if status == 503 && time.Now().Before(deadline) {
			continue
		}
		if err := json.Unmarshal([]byte(text), &d); status != 200 || err != nil {
			t.Fatalf("%s: %d %s %v", address, status, text, err)
		}
		return d
	}
}

// TestAnalyses compares what is served with what the packages find that find it.
func TestAnalyses(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "rich")
	writeRich(t, dir)
	writeRun(t, filepath.Join(root, "short"), 20)
	address, _ := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/api/"

	got := told[transitionsDocument](t, home+"transitions?run=rich")
	h, err := monitor.ReadHistory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Transitions) != 1 || len(h.Transitions) != 1 || got.LookedAt != len(h.Curves) {
		t.Fatalf("%d transitions in %d curves are served, there are %d in %d", len(got.Transitions), got.LookedAt, len(h.Transitions), len(h.Curves))
	}
	if x := got.Transitions[0]; x.First != h.Transitions[0].First || x.Last != h.Transitions[0].Last || !strings.Contains(x.Driven, "at step 1500") || len(x.Changes) != len(h.Transitions[0].Changes) || x.First > 1500 || x.Last < 1500 {
		t.Errorf("got %+v", x)
	}
	if d := told[transitionsDocument](t, home+"transitions?run=short"); len(d.Transitions) != 0 {
		t.Errorf("a run of two records: %+v", d)
	}

	for _, c := range []struct {
		query string
		step  int64
	}{{"", 2990}, {"&step=1000", 1000}} {
		d := told[spectraDocument](t, home+"spectra?run=rich"+c.query)
		if d.Step != c.step || len(d.Matrices) != 1 || len(d.Charts) != 1 || d.Matrices[0].Name != "blocks.0.weight" {
			t.Fatalf("%q: got %+v", c.query, d)
		}
		kept, err := checkpointOf(dir, c.step)
		if err != nil {
			t.Fatal(err)
		}
		f, err := checkpoint.Open(kept.Path)
		if err != nil {
			t.Fatal(err)
		}
		weights, err := f.Tensor("blocks.0.weight")
		if err != nil {
			t.Fatal(err)
		}
		s, err := spectrum.Measure(t.Context(), weights, spectrum.Matrix, spectrum.Options{})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if m := d.Matrices[0]; *m.SpectralNorm.Value != s.SpectralNorm.Value || m.Outliers != s.Bulk.Outliers {
			t.Errorf("step %d: got %+v, want %v and %d outliers", c.step, m, s.SpectralNorm, s.Bulk.Outliers)
		}
	}
	for query, want := range map[string]int{"spectra?run=rich&step=5": 404, "spectra?run=short": 404, "spectra?run=none": 404, "spectra?run=../rich": 422, "transitions?run=none": 404, "spending?run=none": 404} {
		if status, text := ask(t, "GET", home+query, ""); status != want {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}

	d := told[spendingDocument](t, home+"spending?run=rich")
	if d.Reason != "" || d.Energy.Value == nil || math.Abs(*d.Energy.Value-29900) > 1 || !d.Stopped || d.PerLoss.Value == nil || len(d.Figures) < 2 || len(d.Charts) != 1 {
		t.Errorf("100 W for 299 s: got %+v", d)
	}
	if d := told[spendingDocument](t, home+"spending?run=short"); !strings.Contains(d.Reason, "expected") && d.Reason == "" {
		t.Errorf("without power: %+v", d)
	}
}

// TestAnalysesAreKept counts how often something is looked for.
func TestAnalysesAreKept(t *testing.T) {
	news := make(chan string, 2*mostAnalyses)
	a := newAnalyses(func(id string) { news <- id })
	defer a.close()
	a.soonest = time.Second
	gate := make(chan struct{}, 10)
	var calls atomic.Int64
	find := func(size int64) (any, error) {
		return a.find(t.Context(), "x", "run", version{size: size}, func(ctx context.Context) (any, error) {
			n := int(calls.Add(1))
			select {
			case <-gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return n, nil
		})
	}
	if _, err := find(1); !errors.Is(err, errLooking) {
		t.Fatalf("before it is known: %v", err)
	}
	gate <- struct{}{}
	for range 3 {
		if x, err := find(1); x != 1 || err != nil {
			t.Fatalf("got %v %v", x, err)
		}
	}
	// The run grew: what is known is the answer until the new one is due, and
	// whoever got it is told then; of what was asked for meanwhile only the last counts.
	a.mu.Lock()
	a.known["x"].took = 0 // it waited for the gate
	a.mu.Unlock()
	began := time.Now()
	for _, size := range []int64{2, 3} {
		if x, err := find(size); x != 1 || err != nil || calls.Load() != 1 {
			t.Errorf("got %v %v after %d calls", x, err, calls.Load())
		}
	}
	gate <- struct{}{}
	select {
	case id := <-news:
		if id != "run" || time.Since(began) < a.soonest/2 {
			t.Errorf("told of %q after %v", id, time.Since(began))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is told")
	}
	if x, err := find(3); x != 2 || err != nil || calls.Load() != 2 {
		t.Errorf("got %v %v after %d calls", x, err, calls.Load())
	}
	// It remembers so many, and the oldest goes.
	for i := range 2 * mostAnalyses {
		a.find(t.Context(), string(rune(i)), "run", version{}, func(context.Context) (any, error) { return nil, errors.New("none") })
	}
	a.mu.Lock()
	if n := len(a.known); n > mostAnalyses+1 {
		t.Errorf("%d are kept", n)
	}
	a.mu.Unlock()
}

// jump makes a run of noise, which ends after a jump of ten standard deviations.
func jump(t *testing.T, dir string) (grow func()) {
	t.Helper()
	r, err := run.Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	write := func(from, to int, mean float64, more ...run.Record) {
		t.Helper()
		var records []run.Record
		for step := from; step < to; step++ {
			records = append(records, run.Record{Step: int64(step), Kind: run.KindStep, Values: map[string]float64{"loss": mean + 0.1*rng.NormFloat64()}})
		}
		if err := r.Append(append(records, more...)...); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 1000, 1)
	return func() {
		t.Helper()
		write(1000, 2000, 2, run.Record{Step: 1999, Kind: "end"})
		r.Close()
	}
}

// TestTransitionsOfAGrownRun appends a jump and the end to a run whose transitions
// were asked for: without being asked again the server says when they are known.
func TestTransitionsOfAGrownRun(t *testing.T) {
	root := t.TempDir()
	grow := jump(t, filepath.Join(root, "a"))
	address, _ := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/api/"
	if d := told[transitionsDocument](t, home+"transitions?run=a"); len(d.Transitions) != 0 || d.First != 0 || d.Last != 999 {
		t.Fatalf("before: %+v", d)
	}
	grow()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if told[runDocument](t, home+"run?run=a").Run.Step == 1999 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the records are never seen")
		}
	}
	answer, err := http.Get(home + "changes")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	d := told[transitionsDocument](t, home+"transitions?run=a") // as a page does that heard of the records
	began := time.Now()
	for lines := bufio.NewScanner(answer.Body); d.Last != 1999 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), `data: {"runs":`) {
			d = told[transitionsDocument](t, home+"transitions?run=a")
		}
		if time.Since(began) > 30*time.Second {
			break
		}
	}
	if d.Last != 1999 || len(d.Transitions) != 1 || d.Transitions[0].First > 1000 || d.Transitions[0].Last < 999 {
		t.Errorf("after %v: %+v", time.Since(began), d)
	}
	t.Logf("known %v after they were asked for", time.Since(began))
}

// TestTransitionsAppear looks at the page of a run while it jumps and ends.
func TestTransitionsAppear(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	grow := jump(t, filepath.Join(root, "a"))
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/a"))
	until(t, ctx, `document.body.innerText.includes('None: in 1 curve')`)
	grow()
	until(t, ctx, `document.querySelectorAll('.transitions > li').length == 1 && document.body.innerText.includes('finished')`)
}

// TestRecreatedRun shows the spectra of the weights that are there, not of those
// that had the same name and step.
func TestRecreatedRun(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a")
	address := ""
	for _, rows := range []int{32, 16} {
		for deadline := time.Now().Add(10 * time.Second); ; {
			err := os.RemoveAll(dir)
			if err == nil {
				break
			}
			if time.Now().After(deadline) { // the server may be making its index
				t.Fatal(err)
			}
		}
		r, err := run.Create(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		weights := make([]float32, rows*64)
		for i := range weights {
			weights[i] = float32(math.Sin(float64(i * i)))
		}
		if err := r.Checkpoint(5, func(path string) error {
			return checkpoint.WriteSafetensors(path, []checkpoint.Named{{Name: "0.weight", Shape: []int{rows, 64}, F32: weights}}, nil)
		}); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if address == "" {
			address, _ = serve(t, root, "127.0.0.1:0", "")
		}
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if status, _ := ask(t, "GET", "http://"+address+"/api/spectra?run=a", ""); status != 404 { // it was seen to be gone
				break
			}
		}
		if d := told[spectraDocument](t, "http://"+address+"/api/spectra?run=a"); len(d.Matrices) != 1 || !slices.Equal(d.Matrices[0].Shape, []int{rows, 64}) {
			t.Errorf("of %d rows: %+v", rows, d.Matrices)
		}
	}
}
