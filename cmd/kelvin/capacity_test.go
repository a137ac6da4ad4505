package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/sampler"
)

// linearModel writes data of a linear teacher and the network that fits them
// best, y = w·x in two dimensions, and returns both paths.
func linearModel(t *testing.T) (model, data string) {
	t.Helper()
	set, err := dataset.Make("teacher-student-linear", dataset.Options{Examples: 100, Features: 2, Noise: 0.3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var a, b, c, p, q float64 // normal equations
	for i := range set.N {
		x, y, z := float64(set.X[2*i]), float64(set.X[2*i+1]), float64(set.Y[i])
		a, b, c, p, q = a+x*x, b+x*y, c+y*y, p+x*z, q+y*z
	}
	det := a*c - b*b
	w := []float32{float32((c*p - b*q) / det), float32((a*q - b*p) / det)}
	dir := t.TempDir()
	model, data = filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "data.npz")
	if err := set.WriteNPZ(data); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteSafetensors(model, []checkpoint.Named{{Name: "0.weight", Shape: []int{1, 2}, F32: w}}, nil); err != nil {
		t.Fatal(err)
	}
	return model, data
}

func command(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

type jsonReading struct {
	Value, StdErr float64
	Valid         bool
}

// A regular minimum of two parameters has the learning coefficient 1, in both
// forms of the output.
func TestLLCCommand(t *testing.T) {
	model, data := linearModel(t)
	args := []string{"llc", model, "--arch", "2-1:identity:nobias", "--data", data, "--layers", "--draws", "1000"}
	status, out, errs := command(append(args, "--json")...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	var d struct {
		Schema string
		LLC    jsonReading
		Beta   float64
		N      int
		Layers []struct {
			Name string
			LLC  jsonReading
		}
		Equilibrium struct{ Verdict string }
		Findings    []json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	if math.Abs(d.LLC.Value-1) > 4*d.LLC.StdErr || d.LLC.StdErr > 0.06 || !d.LLC.Valid || d.Schema != schema || d.N != 100 || math.Abs(d.Beta-1/math.Log(100)) > 1e-12 {
		t.Errorf("%+v", d)
	}
	if len(d.Layers) != 1 || d.Layers[0].Name != "0" || math.Abs(d.Layers[0].LLC.Value-1) > 4*d.LLC.StdErr {
		t.Errorf("layers %+v", d.Layers)
	}
	status, out, _ = command(args...)
	if status != 0 || !strings.Contains(out, "learning coefficient  ") || !strings.Contains(out, "half of 2 parameters") {
		t.Errorf("status %d: %s", status, out)
	}
}

// A linear network with a weak prior has the heat capacity 1 of two quadratic
// parameters at every temperature.
func TestCapacityCommand(t *testing.T) {
	model, data := linearModel(t)
	svg := filepath.Join(t.TempDir(), "c.svg")
	args := []string{"capacity", model, "--arch", "2-1:identity:nobias", "--data", data, "--temperatures", "0.1:10:4", "--plot", svg}
	status, out, errs := command(append(args, "--json")...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	var d struct {
		Points []struct {
			Temperature float64
			Capacity    jsonReading `json:"heat_capacity"`
			Virial      jsonReading
		}
		Agreement struct {
			PValue float64 `json:"p_value"`
		}
		Peaks []json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Points {
		if math.Abs(p.Capacity.Value-1) > 4*p.Capacity.StdErr || math.Abs(p.Virial.Value-p.Temperature) > 4*p.Virial.StdErr {
			t.Errorf("T = %v: %+v", p.Temperature, p)
		}
	}
	if len(d.Points) != 4 || d.Agreement.PValue < 0.001 || len(d.Peaks) != 0 {
		t.Errorf("%+v", d)
	}
	if text, err := os.ReadFile(svg); err != nil || !bytes.Contains(text, []byte("<svg")) {
		t.Errorf("plot: %v", err)
	}
	if status, out, _ = command(args...); status != 0 || !strings.Contains(out, "heat capacity from fluctuations and from dU/dT: p = ") {
		t.Errorf("status %d: %s", status, out)
	}
}

func TestSamplingUsage(t *testing.T) {
	model, data := linearModel(t)
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"llc MODEL", 2, "expected --data FILE"},
		{"llc MODEL --data DATA --arch 2-1 --beta -1", 2, "--beta: expected a number above 0, got -1"},
		{"llc MODEL --data DATA --arch 2-1 --localisation 0", 2, "--localisation: expected a number above 0, got 0"},
		{"llc MODEL --data DATA --arch 3-1:identity:nobias", 1, "0.weight"},
		{"llc MODEL --data missing.npz --arch 2-1", 1, "reading missing.npz: no such file or directory"},
		{"capacity MODEL --data DATA --temperatures 1:2", 2, "expected LOW:HIGH:N"},
		{"capacity MODEL --data DATA --temperatures 2:1:5", 2, "expected 0 < LOW < HIGH"},
		{"capacity MODEL --data DATA --prior 0", 2, "--prior: expected a standard deviation above 0"},
		{"capacity MODEL --data DATA --plot c.txt", 2, "--plot: expected a name that ends in .svg"},
		{"capacity MODEL", 2, "expected --data FILE"},
	} {
		args := strings.Fields(strings.NewReplacer("MODEL", model, "DATA", data).Replace(c.args))
		status, out, errs := command(args...)
		if status != c.status || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: status %d, %q, want %d, %q", c.args, status, errs, c.status, c.want)
		}
	}
}

// A step that is asked for is the one that is taken.
func TestNetworkKernel(t *testing.T) {
	for step, want := range map[float64]float64{0: 0.01, 0.1: 0.1, 0.03: 0.03} {
		s := sampleSettings{Sampler: "nuts", Step: step}
		if k, ok := s.networkKernel().(sampler.NUTS); !ok || k.StepSize != want || k.MaxDepth != 6 {
			t.Errorf("--step %g: %+v", step, k)
		}
	}
}

// The cold-posterior curve of a classifier: predictions and their errors at each
// temperature, from a sampler with and without minibatches.
func TestSampleNetwork(t *testing.T) {
	model, data := moonsModel(t)
	dir := t.TempDir()
	base := []string{"sample", "--net", model, "--arch", "2-2:identity", "--data", data, "--temperature", "1,0.1", "--chains", "2", "--warmup", "100", "--draws", "200"}
	for _, extra := range [][]string{nil, {"--sampler", "sgld", "--step", "0.002", "--batch", "20"}} {
		args := append(append([]string{}, base...), extra...)
		page := filepath.Join(dir, "page.html")
		status, out, errs := command(append(args, "--json", "--html", page)...)
		if status != 0 {
			t.Fatalf("status %d: %s", status, errs)
		}
		html, err := os.ReadFile(page)
		if err != nil || strings.Count(string(html), `"caption":`) != 3+2*2 || !strings.Contains(string(html), "<td>0.8 to 0.9") && !strings.Contains(string(html), "0.8 to 0.9</th>") {
			t.Errorf("page: %v, %d figures", err, strings.Count(string(html), `"caption":`))
		}
		var d struct {
			Examples int
			Curve    []struct {
				Temperature               float64
				LogLikelihood             jsonReading `json:"log_likelihood"`
				Accuracy, ECE, Likelihood jsonReading
				Reliability               []json.RawMessage
			}
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Curve) != 2 || d.Examples != 80 {
			t.Fatalf("%+v", d)
		}
		for _, p := range d.Curve {
			if p.Accuracy.Value < 0.75 || p.LogLikelihood.Value > -0.1 || p.LogLikelihood.Value < -0.6 || !(p.ECE.StdErr > 0) || len(p.Reliability) != 10 ||
				!p.Likelihood.Valid || !(p.Likelihood.StdErr > 0) || p.Likelihood.Value < 0.2 || p.Likelihood.Value > 1.5 {
				t.Errorf("%v: %+v", extra, p)
			}
		}
		if status, out, _ = command(args...); status != 0 || !strings.Contains(out, "calibration error") {
			t.Errorf("status %d: %s", status, out)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"--prior cauchy:1", "--prior: expected normal:SD"}, {"--batch 10", "a sampler without an acceptance test"},
		{"--hottest 3", "--hottest goes with --model only"}, {"--dense", "--dense goes with --model only"}, {"--friction 2", "--friction goes with --sampler sghmc or sgnht only"}, {"--rungs 3", "--rungs goes with --hottest only"}, {"--thin 201", "--thin: expected at most --draws, 200, got 201"}, {"--temperature 1,x", `separated by commas, got "x"`},
	} {
		if status, _, errs := command(append(append([]string{}, base...), strings.Fields(c.args)...)...); status != 2 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: status %d, %s", c.args, status, errs)
		}
	}
}
