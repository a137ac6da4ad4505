package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/kelvin-ml/kelvin/sampler"
)

// The gradients are those of the energies.
func TestGradients(t *testing.T) {
	for _, d := range []sampler.Density{parabola(3), twoValleys{2, 30}, doubleWell{12}} {
		for _, x := range []float64{-1.3, 0.2, 0.9} {
			theta, gradient := make([]float64, d.Dim()), make([]float64, d.Dim())
			theta[0] = x
			if e := d.Gradient(theta, gradient); e != d.Energy(theta) {
				t.Errorf("%T at %v: energies %v and %v", d, x, e, d.Energy(theta))
			}
			const h = 1e-6
			theta[0] = x + h
			slope := d.Energy(theta)
			theta[0] = x - h
			slope = (slope - d.Energy(theta)) / (2 * h)
			if math.Abs(slope-gradient[0]) > 1e-6*(1+math.Abs(slope)) {
				t.Errorf("%T at %v: gradient %v, want %v", d, x, gradient[0], slope)
			}
		}
	}
}

// A curve of kelvin sample is drawn; another document is refused.
func TestColdPosterior(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cold.json")
	score := `{"value": 0.5, "stderr": 0.1}`
	point := func(temperature string) string {
		return `{"temperature": ` + temperature + `, "log_likelihood": ` + score + `, "accuracy": ` + score + `, "ece": ` + score + `}`
	}
	for text, good := range map[string]bool{`{"curve": [` + point("1") + `, ` + point("0.1") + `]}`: true, `{"points": []}`: false, `x`: false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := coldPosterior(path, dir); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "sampling-cold.svg")); err != nil || info.Size() == 0 {
		t.Error(err)
	}
}
