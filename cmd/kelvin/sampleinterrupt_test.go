package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/dataset"
)

// A countdown is cancelled once its error was asked for a number of times, which
// samplers do at every draw.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// interrupted runs a command that is cancelled after a number of draws.
func interrupted(t *testing.T, draws int, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &countdown{Context: ctx, cancel: cancel}
	c.left.Store(int64(draws))
	var out, errs bytes.Buffer
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	err = root.ExecuteContext(c)
	return out.String(), err
}

// Cancelled in the second of three temperatures, the commands print the first.
func TestInterruptedCurves(t *testing.T) {
	linear, regression := linearModel(t)
	classifier, classes := moonsModel(t)
	page := filepath.Join(t.TempDir(), "page.html")
	for name, args := range map[string][]string{
		"points": {"capacity", linear, "--arch", "2-1:identity:nobias", "--data", regression, "--temperatures", "0.1:10:3", "--warmup", "50", "--draws", "200"},
		"curve": {"sample", "--net", classifier, "--arch", "2-2:identity", "--data", classes, "--temperature", "10,1,0.1", "--warmup", "50", "--draws", "200",
			"--html", page},
	} {
		out, err := interrupted(t, 1200, append(args, "--json")...) // 800 a temperature
		if err == nil || !strings.Contains(err.Error(), "interrupted after 1 of 3 temperatures") {
			t.Errorf("%s: %v", args[0], err)
		}
		var d map[string]json.RawMessage
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
		var points []struct{ Temperature float64 }
		if err := json.Unmarshal(d[name], &points); err != nil || len(points) != 1 || points[0].Temperature < 9.99 || string(d["interrupted"]) != "true" {
			t.Errorf("%s: %v: %s", args[0], err, out)
		}
		if out, err = interrupted(t, 1200, args...); err == nil || !strings.Contains(out, "virial T") {
			t.Errorf("%s: %v: %s", args[0], err, out)
		}
		if out, err = interrupted(t, 10, args...); err == nil || out != "" {
			t.Errorf("%s, cancelled at once: %v: %s", args[0], err, out)
		}
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("Interrupted: temperatures are missing.")) {
		t.Errorf("page: %v", err)
	}
}

// Cancelled in the draws, llc and sample --model print what there is.
func TestInterruptedDraws(t *testing.T) {
	linear, regression := linearModel(t)
	dir := t.TempDir()
	model, data := filepath.Join(dir, "model.json"), filepath.Join(dir, "data.json")
	for path, text := range map[string]string{model: `{"model": "glm", "family": "normal", "response": "y", "intercept": true, "priors": {"alpha": "flat", "sigma": "half-normal(5)"}}`, data: `{"y": [1, 2, 4, 5]}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"llc", linear, "--arch", "2-1:identity:nobias", "--data", regression, "--draws", "1000"},
		{"sample", "--model", model, "--data", data, "--draws", "1000", "--html", filepath.Join(dir, "page.html")},
	} {
		out, err := interrupted(t, 2000, append(args, "--json")...)
		var d struct {
			Chains, Draws int
			Interrupted   bool
		}
		if jsonErr := json.Unmarshal([]byte(out), &d); jsonErr != nil {
			t.Fatalf("%s: %v, %v", args[0], err, jsonErr)
		}
		if err == nil || !strings.Contains(err.Error(), "of 1000 draws per chain") || !d.Interrupted || d.Chains < 1 || d.Chains*d.Draws < 1000 || d.Chains*d.Draws > 2004 {
			t.Errorf("%s: %v: %+v", args[0], err, d)
		}
	}
}

// moonsModel writes two classes and a linear classifier, and returns both paths.
func moonsModel(t *testing.T) (model, data string) {
	t.Helper()
	set, err := dataset.Make("two-moons", dataset.Options{Examples: 80, Noise: 0.2, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	model, data = filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "data.npz")
	if err := set.WriteNPZ(data); err != nil {
		t.Fatal(err)
	}
	tensors := []checkpoint.Named{{Name: "0.weight", Shape: []int{2, 2}, F32: []float32{0.1, -0.9, -0.1, 0.9}}, {Name: "0.bias", Shape: []int{2}, F32: []float32{0, 0}}}
	if err := checkpoint.WriteSafetensors(model, tensors, nil); err != nil {
		t.Fatal(err)
	}
	return model, data
}
