package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/dataset"
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

// sequences are what onnx/testdata/export.py says of a network in ONNX that has a
// label for each position.
type sequences struct {
	Cases []struct {
		Name       string
		N          int
		Input      []int
		X          []float64
		Labels     []int64
		Energy     float64
		Parameters []struct {
			Name string
			Grad []float64
		}
	}
}

// compareSequences measures the GPT in a folder that export.py wrote, and holds
// energy and gradient of every layer against PyTorch's.
func compareSequences(t *testing.T, folder string) {
	t.Helper()
	packed, err := os.Open(filepath.Join(folder, "reference.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var want sequences
	if err := json.NewDecoder(plain).Decode(&want); err != nil {
		t.Fatal(err)
	}
	for _, c := range want.Cases {
		if c.Name != "gpt" {
			continue
		}
		tokens := make([]int64, len(c.X))
		for i, x := range c.X {
			tokens[i] = int64(x)
		}
		shape := []int{c.N, c.Input[0]}
		data := filepath.Join(t.TempDir(), "tokens.npz")
		if err := dataset.WriteArrays(data, []dataset.Array{{Name: "x", Shape: shape, Data: tokens}, {Name: "labels", Shape: shape, Data: c.Labels}}); err != nil {
			t.Fatal(err)
		}
		var got measureDocument
		readJSON(t, kelvin(t, "measure", filepath.Join(folder, "gpt.onnx"), "--data", data, "--draws", "4", "--json"), &got)
		if math.Abs(got.AtWeights.Energy-c.Energy) > 1e-5*c.Energy {
			t.Errorf("energy %.9g, PyTorch has %.9g", got.AtWeights.Energy, c.Energy)
		}
		for _, l := range got.Layers {
			square := 0.0
			for _, p := range c.Parameters {
				if strings.HasPrefix(p.Name, l.Name+".") {
					for _, g := range p.Grad {
						square += g * g
					}
				}
			}
			if norm := math.Sqrt(square); math.Abs(*l.GradNorm-norm) > 1e-5*norm {
				t.Errorf("layer %s: norm of the gradient %.9g, PyTorch has %.9g", l.Name, *l.GradNorm, norm)
			}
		}
		kelvin(t, "curvature", filepath.Join(folder, "gpt.onnx"), "--data", data, "--top", "1", "--bottom", "1", "--density", "0", "--method", "hutchinson", "--tolerance", "0.5")
		return
	}
	t.Errorf("no GPT in %s", folder)
}

func TestMeasureSequencesThatTorchExported(t *testing.T) {
	archive, err := zip.OpenReader("../../onnx/testdata/torch-1.13.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	folder := t.TempDir()
	if err := os.CopyFS(folder, archive); err != nil {
		t.Fatal(err)
	}
	compareSequences(t, folder)
}

func TestMeasureSequencesThatTorchExportsNow(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import torch").Run(); err != nil {
		t.Skipf("needs PyTorch (Debian: python3-torch): %s cannot import it", python)
	}
	folder := t.TempDir()
	if out, err := exec.Command(python, "../../onnx/testdata/export.py", folder, "3", "gpt").CombinedOutput(); err != nil {
		t.Fatalf("export.py: %v\n%s", err, out)
	}
	compareSequences(t, folder)
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
