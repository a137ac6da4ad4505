package checkpoint

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// reference is the content of a checkpoint as its writer saw it.
type reference map[string]struct {
	Shape  []int
	Values []float64
}

func readReference(t *testing.T, path string) reference {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var ref reference
	if err := json.Unmarshal(b, &ref); err != nil {
		t.Fatal(err)
	}
	return ref
}

// compare checks that f has the reference's tensors and, where they are
// readable, its values to the last bit.
func compare(t *testing.T, f *File, want reference) {
	t.Helper()
	if len(f.Tensors) != len(want) {
		t.Errorf("got %d tensors, want %d", len(f.Tensors), len(want))
	}
	for name, ref := range want {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if fmt.Sprint(tensor.Shape) != fmt.Sprint(ref.Shape) {
			t.Errorf("%s: shape %v, want %v", name, tensor.Shape, ref.Shape)
			continue
		}
		values := make([]float64, tensor.Len())
		if decoderFor[float64](tensor.DType) == nil {
			if err := tensor.Float64(values); err == nil {
				t.Errorf("%s: %s was read as floating point", name, tensor.DType)
			}
			continue
		}
		if err := tensor.Float64(values); err != nil {
			t.Error(err)
		}
		if !slices.Equal(values, ref.Values) {
			t.Errorf("%s: got %v, want %v", name, values, ref.Values)
		}
		var blocks []float64
		for block, err := range tensor.Blocks() {
			if err != nil {
				t.Error(err)
			}
			blocks = append(blocks, block...)
		}
		if !slices.Equal(blocks, ref.Values) {
			t.Errorf("%s: blocks give %v, want %v", name, blocks, ref.Values)
		}
	}
}

// TestReferenceSafetensors reads a file written by the safetensors package.
func TestReferenceSafetensors(t *testing.T) {
	f := open(t, "testdata/reference.safetensors")
	compare(t, f, readReference(t, "testdata/reference.json"))
	if f.Metadata["format"] != "np" {
		t.Errorf("metadata %v", f.Metadata)
	}
}

// python returns an interpreter that has torch, or skips the test.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import torch").Run() == nil {
			return p
		}
	}
	t.Skip("SKIP: no python3 with torch (Debian: python3-torch)")
	return ""
}

// script runs a Python program with arguments.
func script(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(python(t), append([]string{"-c", program}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

const writeFromTorch = `
import json, struct, sys, torch
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
state = dict(net.state_dict())
state["double"] = torch.randn(2, 2, dtype=torch.float64)
state["half"] = torch.randn(5).half()
state["brain"] = torch.randn(5).bfloat16()
state["count"] = torch.tensor([3])
names = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
header, data = {}, b""
for k, v in state.items():
    raw = bytes(v.contiguous().reshape(-1).view(torch.uint8).tolist())
    header[k] = {"dtype": names[v.dtype], "shape": list(v.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
head = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head + data)
json.dump({k: {"shape": list(v.shape), "values": v.double().reshape(-1).tolist()} for k, v in state.items()}, open(sys.argv[2], "w"))
`

const readInTorch = `
import json, struct, sys, torch
raw = bytearray(open(sys.argv[1], "rb").read())
n = struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:8 + n]); body = raw[8 + n:]
assert (8 + n) % 8 == 0 and header.pop("__metadata__") == {"made": "here"}
state = {}
for k, h in header.items():
    a, b = h["data_offsets"]
    state[k] = torch.frombuffer(body[a:b], dtype={"F32": torch.float32, "F64": torch.float64}[h["dtype"]]).reshape(h["shape"])
net = torch.nn.Linear(3, 2)
net.load_state_dict({"weight": state["weight"], "bias": state["bias"]})
assert net.weight.tolist() == [[0, 1, 2], [3, 4, 5]] and net.bias.tolist() == [0.5, 0.25]
assert state["d"].tolist() == [0.1]
`

// TestTorch exchanges files with PyTorch in both directions.
func TestTorch(t *testing.T) {
	dir := t.TempDir()
	path, values := filepath.Join(dir, "t.safetensors"), filepath.Join(dir, "t.json")
	script(t, writeFromTorch, path, values)
	compare(t, open(t, path), readReference(t, values))

	path = filepath.Join(dir, "k.safetensors")
	err := WriteSafetensors(path, []Named{
		{Name: "weight", Shape: []int{2, 3}, F32: []float32{0, 1, 2, 3, 4, 5}},
		{Name: "bias", Shape: []int{2}, F32: []float32{0.5, 0.25}},
		{Name: "d", Shape: []int{1}, F64: []float64{0.1}},
	}, map[string]string{"made": "here"})
	if err != nil {
		t.Fatal(err)
	}
	script(t, readInTorch, path)
}
