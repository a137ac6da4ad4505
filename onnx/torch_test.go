package onnx

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

	"github.com/kelvin-ml/kelvin/nn"
)

// reference is what testdata/export.py writes beside the ONNX files.
type reference struct {
	Torch string
	Cases []torchCase
}

type torchCase struct {
	Name       string
	N          int
	Input      []int
	X          []float32
	Labels     []int32
	Outputs    []float64
	Energy     float64
	Exact      bool // whether the file keeps PyTorch's parameters
	Parameters []struct {
		Name string
		Grad []float64
		V    []float32
		HVP  []float64
	}
}

// check holds every network to PyTorch's numbers.
func check(t *testing.T, folder string) {
	packed, err := os.ReadFile(filepath.Join(folder, "reference.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.NewDecoder(plain).Decode(&r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cases {
		t.Run(c.Name, func(t *testing.T) {
			m, err := Open(filepath.Join(folder, c.Name+".onnx"), "ce", c.Input)
			if err != nil {
				t.Fatal(err)
			}
			b := nn.Batch[float32]{X: c.X, N: c.N, Labels: c.Labels}
			energy, err := m.Network.Backward(b, nil)
			if err != nil {
				t.Fatal(err)
			}
			near32(t, "energy", []float32{float32(energy)}, []float64{c.Energy})
			outputs := m.Network.Outputs()
			if len(m.Notes) > 0 { // LogSoftmax: logits up to a constant an example
				outputs = logSoftmax(outputs, m.Network.OutputShape()[0])
			}
			near32(t, "outputs", outputs, c.Outputs)
			if c.Exact {
				c.checkDerivatives(t, m.Network, b)
			}
		})
	}
}

// near32 fails unless vectors agree to 1e-5 of the largest element.
func near32(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	scale := 0.1
	for _, w := range want {
		scale = max(scale, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= 1e-5*scale) {
			t.Errorf("%s[%d] = %v, want %v", what, i, got[i], w)
			return
		}
	}
}

// checkDerivatives compares the gradient and the Hessian-vector product of every
// parameter, after a backward pass.
func (c torchCase) checkDerivatives(t *testing.T, n *nn.Network[float32], b nn.Batch[float32]) {
	v, hv := make([]float32, len(n.Params)), make([]float32, len(n.Params))
	tensors := map[string]nn.Tensor{}
	for _, g := range n.Groups {
		for _, p := range g.Tensors {
			tensors[p.Name] = p
		}
	}
	for _, p := range c.Parameters {
		if tensors[p.Name].Name == "" {
			t.Fatalf("no parameter is called %q: %v", p.Name, n.Groups)
		}
		at := tensors[p.Name].Offset
		copy(v[at:at+tensors[p.Name].Size()], p.V) // of a longer table the file holds the positions in use
	}
	if err := n.HVP(b, v, hv); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Parameters {
		at := tensors[p.Name].Offset
		size := min(tensors[p.Name].Size(), len(p.Grad))
		near32(t, "gradient of "+p.Name, n.Grad[at:at+size], p.Grad[:size])
		near32(t, "Hessian-vector product, "+p.Name, hv[at:at+size], p.HVP[:size])
		delete(tensors, p.Name)
	}
	if len(tensors) > 0 {
		t.Errorf("PyTorch does not have the parameters %v", tensors)
	}
}

func logSoftmax(x []float32, classes int) []float32 {
	out := make([]float32, len(x))
	for i := 0; i < len(x); i += classes {
		sum := 0.0
		for _, v := range x[i : i+classes] {
			sum += math.Exp(float64(v))
		}
		for j := i; j < i+classes; j++ {
			out[j] = x[j] - float32(math.Log(sum))
		}
	}
	return out
}

// archives opens the exports in testdata.
func archives(t testing.TB) map[string]*zip.ReadCloser {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.zip")
	if err != nil || len(paths) == 0 {
		t.Fatal("testdata holds no exports", err)
	}
	open := map[string]*zip.ReadCloser{}
	for _, path := range paths {
		archive, err := zip.OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { archive.Close() })
		open[strings.TrimSuffix(filepath.Base(path), ".zip")] = archive
	}
	return open
}

// TestAgreesWithPyTorch compares exports of PyTorch 1.13, and of 2.15 by both of
// its exporters, with the numbers that it computed.
func TestAgreesWithPyTorch(t *testing.T) {
	for name, archive := range archives(t) {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, archive); err != nil {
				t.Fatal(err)
			}
			check(t, folder)
		})
	}
}

// TestAgreesWithPyTorchLive exports networks now and compares.
func TestAgreesWithPyTorchLive(t *testing.T) {
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import torch").CombinedOutput(); err != nil {
		t.Skipf("SKIP: no PyTorch for %s (Debian: apt-get install python3-torch): %s", python, out)
	}
	folder := t.TempDir()
	if out, err := exec.Command(python, "testdata/export.py", folder, "2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check(t, folder)
}
