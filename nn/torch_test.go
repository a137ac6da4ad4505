package nn

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"
)

// torchReference is what testdata/make_torch.py writes.
type torchReference struct {
	Torch      string
	Cases      []torchCase
	Optimizers []torchCase
}

type torchCase struct {
	Name       string
	Spec       Spec
	Optimizer  OptimizerSpec
	N          int
	X, Y       []float64
	Labels     []int32
	Params     []float64
	Energy     float64
	Outputs    []float64
	Grad       []float64
	V, HVP     []float64
	After      []float64
	Training   bool
	State      []float64
	StateAfter []float64 `json:"state_after"` // of one forward pass
}

func (c torchCase) batch() Batch[float64] {
	return Batch[float64]{X: c.X, N: c.N, Labels: c.Labels, Y: c.Y}
}

// near fails unless the vectors agree within tolerance times the largest
// element of want, plus the same absolutely.
func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	scale := 0.0
	for _, w := range want {
		scale = max(scale, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(got[i]-w) <= tolerance*(1+scale)) {
			t.Errorf("%s[%d] = %.15g, want %.15g", what, i, got[i], w)
			return
		}
	}
}

func (r torchReference) check(t *testing.T) {
	for _, c := range r.Cases {
		t.Run(c.Name, func(t *testing.T) {
			n, err := New[float64](c.Spec)
			if err != nil {
				t.Fatal(err)
			}
			if len(n.Params) != len(c.Params) {
				t.Fatalf("%d parameters, PyTorch %d", len(n.Params), len(c.Params))
			}
			copy(n.Params, c.Params)
			copy(n.State, c.State)
			n.Training = c.Training
			energy, err := n.Backward(c.batch(), nil)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "state", n.State, c.StateAfter, 1e-12)
			hv := make([]float64, len(c.V))
			if err := n.HVP(c.batch(), c.V, hv); err != nil {
				t.Fatal(err)
			}
			closeTo(t, "energy", energy, c.Energy, 1e-12)
			near(t, "outputs", n.Outputs(), c.Outputs, 1e-12)
			near(t, "gradient", n.Grad, c.Grad, 1e-12)
			near(t, "Hessian-vector product", hv, c.HVP, 1e-11)
		})
		t.Run(c.Name+" float32", func(t *testing.T) { c.checkSingle(t) })
	}
	for _, c := range r.Optimizers {
		t.Run(fmt.Sprintf("%+v", c.Optimizer), func(t *testing.T) { c.checkOptimizer(t) })
	}
}

// checkSingle checks the float32 network to 1e-5 relative.
func (c torchCase) checkSingle(t *testing.T) {
	n, err := New[float32](c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	convert(n.Params, c.Params)
	convert(n.State, c.State)
	n.Training = c.Training
	b := Batch[float32]{N: c.N, Labels: c.Labels, X: make([]float32, len(c.X)), Y: make([]float32, len(c.Y))}
	convert(b.X, c.X)
	convert(b.Y, c.Y)
	v, hv := make([]float32, len(c.V)), make([]float32, len(c.V))
	convert(v, c.V)
	energy, err := n.Backward(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.HVP(b, v, hv); err != nil {
		t.Fatal(err)
	}
	closeTo(t, "energy", energy, c.Energy, 1e-6)
	for what, x := range map[string]struct {
		got  []float32
		want []float64
	}{"gradient": {n.Grad, c.Grad}, "outputs": {n.Outputs(), c.Outputs}, "Hessian-vector product": {hv, c.HVP}} {
		wide := make([]float64, len(x.got))
		convert(wide, x.got)
		near(t, what, wide, x.want, 1e-5)
	}
}

func convert[A, B Float](to []A, from []B) {
	for i, v := range from {
		to[i] = A(v)
	}
}

func (c torchCase) checkOptimizer(t *testing.T) {
	n, err := New[float64](c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	copy(n.Params, c.Params)
	o, err := NewOptimizer[float64](c.Optimizer, len(n.Params))
	if err != nil {
		t.Fatal(err)
	}
	o.KeepUpdate = true
	sum := append([]float64{}, c.Params...)
	for step := range 25 {
		if _, err := n.Backward(c.batch(), nil); err != nil {
			t.Fatal(err)
		}
		if step == 10 { // resume from the exported state
			resumed, err := NewOptimizer[float64](c.Optimizer, len(n.Params))
			if err != nil {
				t.Fatal(err)
			}
			resumed.KeepUpdate, resumed.Steps = true, o.Steps
			for i, b := range resumed.Buffers() {
				copy(b.Data, o.Buffers()[i].Data)
			}
			o = resumed
		}
		o.Step(n.Params, n.Grad)
		for i, u := range o.Update() {
			sum[i] += u
		}
	}
	near(t, "parameters", n.Params, c.After, 1e-12)
	near(t, "sum of updates", sum, c.After, 1e-12)
}

func TestAgreesWithPyTorch(t *testing.T) {
	data, err := os.ReadFile("testdata/torch.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	readTorch(t, data).check(t)
}

func readTorch(t *testing.T, data []byte) (r torchReference) {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(plain).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAgreesWithPyTorchLive does the same with numbers PyTorch computes now.
func TestAgreesWithPyTorchLive(t *testing.T) {
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import torch").CombinedOutput(); err != nil {
		t.Skipf("SKIP: no PyTorch for %s (Debian: apt-get install python3-torch): %s", python, out)
	}
	data, err := exec.Command(python, "testdata/make_torch.py", "2").Output()
	if err != nil {
		t.Fatal(err)
	}
	readTorch(t, data).check(t)
}
