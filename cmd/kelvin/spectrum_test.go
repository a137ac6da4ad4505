package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/checkpoint"
	"github.com/kelvin-ml/kelvin/spectrum"
)

// writeLayers writes a checkpoint with a dense layer, a kernel and a bias.
func writeLayers(t *testing.T, name string, seed uint64) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	layer := func(name string, shape ...int) checkpoint.Named {
		n := checkpoint.Named{Name: name, Shape: shape, F32: []float32{0}}
		for _, d := range shape {
			n.F32 = make([]float32, len(n.F32)*d)
		}
		for i := range n.F32 {
			n.F32[i] = float32(rng.NormFloat64())
		}
		return n
	}
	path := filepath.Join(t.TempDir(), name)
	layers := []checkpoint.Named{layer("fc.weight", 80, 60), layer("fc.bias", 80), layer("conv.weight", 70, 60, 3, 3)}
	for i := range layers {
		if layers[i].Name == "fc.bias" {
			layers[i].F32 = make([]float32, 80)
		}
	}
	if err := checkpoint.WriteSafetensors(path, layers, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSpectrumJSON(t *testing.T) {
	a, b := writeLayers(t, "a.safetensors", 1), writeLayers(t, "b.safetensors", 2)
	var stdout, stderr bytes.Buffer
	if status := run([]string{"spectrum", a, "--json"}, &stdout, &stderr); status != exitDone {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	var d struct {
		Schema   string
		Matrices []struct {
			Name          string
			View          string
			Shape         []int
			Alpha         struct{ Value, StdErr *float64 }
			Xmin          *float64
			PValue        *float64 `json:"p_value"`
			StableRank    float64  `json:"stable_rank"`
			SpectralNorm  float64  `json:"spectral_norm"`
			FrobeniusNorm float64  `json:"frobenius_norm"`
			Entropy       float64
			Outliers      *int
		}
		Summary struct{ Matrices, Random int }
	}
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Schema != schema || len(d.Matrices) != 3 || d.Summary.Matrices != 3 || d.Summary.Random != 3 {
		t.Fatalf("%+v", d)
	}
	views := []string{"matrix", "slices", "unfolded"}
	frobenius := []float64{math.Sqrt(80 * 60), math.Sqrt(70 * 60 * 9), math.Sqrt(70 * 60 * 9)}
	for i, m := range d.Matrices {
		if m.View != views[i] || m.Alpha.Value == nil || m.Alpha.StdErr == nil || m.Xmin == nil || m.PValue == nil || m.Outliers == nil || m.StableRank <= 1 || m.SpectralNorm <= 0 || m.Entropy <= 0 {
			t.Errorf("%+v", m)
		}
		if math.Abs(m.FrobeniusNorm/frobenius[i]-1) > 0.05 {
			t.Errorf("%s: Frobenius norm %v, want about %v", m.View, m.FrobeniusNorm, frobenius[i])
		}
	}

	stdout.Reset()
	page := filepath.Join(t.TempDir(), "report.html")
	if status := run([]string{"spectrum", a, b, "--json", "--html", page}, &stdout, &stderr); status != exitDone {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	var c struct {
		Matrices []struct {
			Name     string
			Distance float64
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for text, count := range map[string]int{`"kind":"plot"`: 6, "%!": 0, "ZgotmplZ": 0, `src="`: 0, `href="http`: 0} {
		if got := bytes.Count(html, []byte(text)); got != count {
			t.Errorf("the report has %q %d times, want %d", text, got, count)
		}
	}
	for _, m := range c.Matrices { // two independent draws are √2 apart
		if math.Abs(m.Distance-math.Sqrt2) > 0.05 {
			t.Errorf("%s moved by %v, want √2", m.Name, m.Distance)
		}
	}
}

// TestSpectrumInterrupted keeps what is done and says so.
func TestSpectrumInterrupted(t *testing.T) {
	f, err := checkpoint.Open(writeLayers(t, "a.safetensors", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	d, err := measureSpectra(ctx, f, spectrum.Options{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "interrupted after 0 of 3 matrices") || !d.Interrupted {
		t.Errorf("got %v, %+v", err, d)
	}
}
