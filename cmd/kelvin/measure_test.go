package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// torchReading is what PyTorch computes from the weights it saved, in float64
// (examples/pytorch/train.py).
type torchReading struct {
	Energy float64 `json:"energy"`
	Layers []struct {
		Name         string  `json:"name"`
		GradientNorm float64 `json:"gradient_norm"`
		Virial       float64 `json:"virial"`
	} `json:"layers"`
}

// kelvin runs one command, which must succeed, and returns its standard output.
func kelvin(t *testing.T, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(args, &stdout, &stderr); status != exitDone {
		t.Fatalf("kelvin %s: exit status %d: %s", strings.Join(args, " "), status, &stderr)
	}
	return stdout.Bytes()
}

func readJSON(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// compareWithTorch measures weights that PyTorch saved, without training, and
// holds the reading against PyTorch's own.
func compareWithTorch(t *testing.T, weights, document, data string) {
	t.Helper()
	var want torchReading
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	readJSON(t, text, &want)
	var got measureDocument
	readJSON(t, kelvin(t, "measure", weights, "--arch", "64-128-10:relu", "--data", data, "--draws", "8", "--json"), &got)
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-5*math.Abs(want) {
			t.Errorf("%s: %.9g, PyTorch has %.9g: relative difference %.2g", what, got, want, got/want-1)
		}
	}
	near("energy", got.AtWeights.Energy, want.Energy)
	if len(got.Layers) != len(want.Layers) {
		t.Fatalf("%d layers, PyTorch has %d", len(got.Layers), len(want.Layers))
	}
	for i, l := range want.Layers {
		if got.Layers[i].Name != l.Name {
			t.Errorf("layer %d is %q, PyTorch calls it %q", i, got.Layers[i].Name, l.Name)
		}
		near("gradient norm of layer "+l.Name, *got.Layers[i].GradNorm, l.GradientNorm)
		near("virial of layer "+l.Name, *got.Layers[i].Virial, l.Virial)
	}
}

func TestMeasureWeightsThatTorchTrained(t *testing.T) {
	data := filepath.Join(t.TempDir(), "train.npz")
	kelvin(t, "data", "make", "digits", "--part", "train", "--out", data)
	compareWithTorch(t, "../../examples/pytorch/digits.safetensors", "../../examples/pytorch/digits.json", data)
}

func TestMeasureWeightsThatTorchTrainsNow(t *testing.T) {
	python := "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import torch, numpy").Run(); err != nil {
		t.Skipf("needs PyTorch (Debian: python3-torch): %s cannot import it", python)
	}
	dir := t.TempDir()
	data, weights := filepath.Join(dir, "train.npz"), filepath.Join(dir, "new.safetensors")
	kelvin(t, "data", "make", "digits", "--part", "train", "--out", data)
	if out, err := exec.Command(python, "../../examples/pytorch/train.py", data, weights).CombinedOutput(); err != nil {
		t.Fatalf("train.py: %v\n%s", err, out)
	}
	compareWithTorch(t, weights, filepath.Join(dir, "new.json"), data)
}

func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for some seconds")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	var got measureDocument
	readJSON(t, kelvin(t, "demo", "--out", dir, "--json"), &got)
	if got.ZerothLaw.Verdict != "equilibrium" {
		t.Errorf("zeroth law: %+v, want equilibrium", got.ZerothLaw)
	}
	// The global temperature is the mean of the local ones, weighted by parameters.
	sum := 0.0
	for _, l := range got.Layers {
		sum += float64(l.Parameters) * l.Temperature.Value
	}
	if want := got.Global.Temperature.Value; math.Abs(sum/float64(got.Global.Parameters)-want) > 1e-9*want {
		t.Errorf("weighted mean of the local temperatures %v, global %v", sum/float64(got.Global.Parameters), want)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Temperature of ", "Work efficiency", "Zeroth law: equilibrium", "</html>"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the report does not say %q", want)
		}
	}
	for _, elsewhere := range []string{`src="`, `href="http`, "url(", "@import"} {
		if bytes.Contains(page, []byte(elsewhere)) {
			t.Errorf("the report refers to something elsewhere: %s", elsewhere)
		}
	}
}
