package onnx

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// message writes protocol buffers for tests.
type message []byte

func (m message) bytes(id int, b []byte) message {
	m = binary.AppendUvarint(m, uint64(id<<3|wireBytes))
	return append(binary.AppendUvarint(m, uint64(len(b))), b...)
}

func (m message) text(id int, s string) message { return m.bytes(id, []byte(s)) }

func (m message) integer(id int, v int64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(id<<3)), uint64(v))
}

func floats(name string, shape []int64, data ...float32) message {
	var m, raw message
	for _, d := range shape {
		m = m.integer(1, d)
	}
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return m.integer(2, typeFloat).text(8, name).bytes(9, raw)
}

func numbers(name string, data ...int64) message {
	m := message{}.integer(1, int64(len(data))).integer(2, typeInt64).text(8, name)
	for _, v := range data {
		m = m.integer(7, v)
	}
	return m
}

// op writes a node: "Gemm x w b -> y".
func op(text string, attributes ...message) message {
	in, out, _ := strings.Cut(text, " -> ")
	fields := strings.Fields(in)
	var m message
	for _, name := range fields[1:] {
		m = m.text(1, name)
	}
	for _, name := range strings.Fields(out) {
		m = m.text(2, name)
	}
	m = m.text(3, "the "+strings.ToLower(fields[0])).text(4, fields[0])
	for _, a := range attributes {
		m = m.bytes(5, a)
	}
	return m
}

func attr(name string, v int64) message { return message{}.text(1, name).integer(3, v) }

func tensorInfo(name string, dims ...int64) message {
	var shape message
	for _, d := range dims {
		var dim message
		if d >= 0 {
			dim = dim.integer(1, d)
		}
		shape = shape.bytes(1, dim)
	}
	kind := message{}.bytes(1, message{}.integer(1, typeFloat).bytes(2, shape))
	return message{}.text(1, name).bytes(2, kind)
}

// file writes a model of x [batch, 2] to y.
func file(initializers []message, nodes ...message) []byte {
	return fileOf(tensorInfo("x", -1, 2), initializers, nodes...)
}

func fileOf(input message, initializers []message, nodes ...message) []byte {
	var g message
	for _, n := range nodes {
		g = g.bytes(1, n)
	}
	for _, t := range initializers {
		g = g.bytes(5, t)
	}
	g = g.bytes(11, input).bytes(12, tensorInfo("y"))
	return message{}.integer(1, 8).bytes(7, g).bytes(8, message{}.integer(2, 17))
}

var weight = floats("w", []int64{2, 2}, 1, 2, 3, 4)

func TestRefusesWhatItCannotRead(t *testing.T) {
	huge := message{}.integer(1, 1<<40).integer(1, 1<<40).integer(2, typeFloat).text(8, "w")
	short := message{}.integer(1, 2).integer(1, 2).integer(2, typeFloat).text(8, "w").bytes(9, make([]byte, 15))
	outside := func(name string) message {
		entry := message{}.text(1, "location").text(2, name)
		return message{}.integer(1, 2).integer(1, 2).integer(2, typeFloat).text(8, "w").integer(14, 1).bytes(13, entry)
	}
	good := file([]message{weight}, op("MatMul x w -> y"))
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "truncated, or not an ONNX model", nil},
		{"text", "truncated, or not an ONNX model", []byte("this is not a model, but a text")},
		{"truncated", "truncated, or not an ONNX model", good[:len(good)-20]},
		{"overflowing length", "truncated", append(message{0x3a}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)},
		{"unknown operator", `node "the einsum" (Einsum): operator not supported: expected Abs, Add, And, Attention, AveragePool,`, file([]message{weight}, op("Einsum x w -> y"))},
		{"other domain", `operators of "com.acme" are not supported`, file([]message{weight}, append(op("MatMul x w -> y"), message{}.text(7, "com.acme")...))},
		{"missing initialiser", `node "the matmul" (MatMul): it reads "w", which is no initialiser`, file(nil, op("MatMul x w -> y"))},
		{"cycle", `it reads "b"`, file([]message{weight}, op("MatMul b w -> a"), op("Relu a -> b"), op("Add a b -> y"))},
		{"twice written", `its output "x" is already there`, file([]message{weight}, op("MatMul x w -> y x"))},
		{"huge tensor", `tensor "w": shape`, file([]message{huge}, op("MatMul x w -> y"))},
		{"short tensor", `tensor "w": expected 16 bytes for shape [2 2], got 15`, file([]message{short}, op("MatMul x w -> y"))},
		{"path traversal", `external data in "../secret": expected a file in the model's folder`, file([]message{outside("../secret")}, op("MatMul x w -> y"))},
		{"absolute path", `external data in "/etc/passwd": expected`, file([]message{outside("/etc/passwd")}, op("MatMul x w -> y"))},
		{"no external file", `external data: open`, file([]message{outside("nowhere")}, op("MatMul x w -> y"))},
		{"wrong shape", `a weight of shape [3 2] does not fit a signal of shape [2 2]`, file([]message{floats("w", []int64{3, 2}, 1, 2, 3, 4, 5, 6)}, op("MatMul x w -> y"))},
		{"not finite", `parameter "w.weight": element 0 is NaN`, file([]message{floats("w", []int64{2, 2}, float32(math.NaN()), 2, 3, 4)}, op("MatMul x w -> y"))},
		{"no parameters", `the network has no parameters`, file(nil, op("Relu x -> y"))},
		{"constant output", `output "y" does not depend on the input`, file([]message{weight}, op("Relu w -> y"))},
		{"open axis", `axis 1 is open`, fileOf(tensorInfo("x", -1, -1), []message{weight}, op("MatMul x w -> y"))},
		{"no activation", `(Mul) ends a computation that is no layer kelvin has: expected an activation (identity, relu,`,
			file([]message{weight}, op("MatMul x w -> h"), op("Exp h -> e"), op("Mul h e -> y"))},
		{"memory", `takes too much`, file([]message{weight, numbers("n", 1<<10, 1<<10)}, op("ConstantOfShape n -> c"), op("Neg c -> d"), op("Neg d -> d2"), op("Neg d2 -> d3"), op("Neg d3 -> e"),
			op("Gather e x -> f"), op("MatMul f w -> y"))},
		{"mixed examples", `output "y": its elements are rearranged`, file([]message{weight}, op("MatMul x w -> h"), op("Transpose h -> y"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.data, t.TempDir(), "ce", nil, 1<<22)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, c.want)
			}
		})
	}
}

func TestReadsExternalData(t *testing.T) {
	folder := t.TempDir()
	var raw []byte
	for _, v := range []float32{9, 1, 2, 3, 4} {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	if err := os.WriteFile(filepath.Join(folder, "m.data"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	w := message{}.integer(1, 2).integer(1, 2).integer(2, typeFloat).text(8, "0.weight").integer(14, 1)
	for _, entry := range [][2]string{{"location", "m.data"}, {"offset", "4"}, {"length", "16"}} {
		w = w.bytes(13, message{}.text(1, entry[0]).text(2, entry[1]))
	}
	path := filepath.Join(folder, "m.onnx")
	if err := os.WriteFile(path, file([]message{w}, op("Gemm x 0.weight -> y", attr("transB", 1))), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path, "mse", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Network.Params, []float32{1, 2, 3, 4}) || m.Network.Groups[0].Name != "0" {
		t.Errorf("parameters %v of %v", m.Network.Params, m.Network.Groups)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(folder, "link")); err != nil {
		t.Skip(err)
	}
	link := message{}.integer(1, 1).integer(2, typeFloat).text(8, "w").integer(14, 1).bytes(13, message{}.text(1, "location").text(2, "link"))
	if _, err := read(file([]message{link}, op("MatMul x w -> y")), folder, "ce", nil, 1<<20); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link out of the folder: %v", err)
	}
}

// TestNotes: what is not to the letter is said.
func TestNotes(t *testing.T) {
	m, err := read(file([]message{weight}, op("MatMul x w -> h"), op("Tanh h -> a"), op("MatMul a w -> z"), op("Softmax z -> y")), "", "ce", nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"the softmax of the output is left to the loss", "w is used by w and linear: they are taken as two parameters that begin equal"}
	if !slices.Equal(m.Notes, want) {
		t.Errorf("notes %q, want %q", m.Notes, want)
	}
	if _, err := read(file([]message{weight}, op("MatMul x w -> z"), op("Softmax z -> y")), "", "mse", nil, 1<<20); err == nil || !strings.Contains(err.Error(), "expected loss ce") {
		t.Errorf("a softmax with loss mse: %v", err)
	}
}

// TestViews checks what only moves elements against Go's own indexing.
func TestViews(t *testing.T) {
	c := &converter{budget: 1 << 20}
	x := &tensor{shape: []int{2, 3, 4}, loaded: true}
	for i := range 24 {
		x.data = append(x.data, float64(i))
	}
	at := func(i, j, k int) float64 { return float64(i*12 + j*4 + k) }
	vector := func(v ...int) *tensor { t := integers(v...); t.shape = []int{len(v)}; return t }
	ints := func(name string, v ...int64) map[string]attribute {
		return map[string]attribute{name: {ints: v, integer: v[0]}}
	}
	for _, test := range []struct {
		op    string
		attr  map[string]attribute
		in    []*tensor
		shape []int
		want  func(i, j, k int) float64
	}{
		{"Transpose", ints("perm", 2, 0, 1), nil, []int{4, 2, 3}, func(i, j, k int) float64 { return at(j, k, i) }},
		{"Slice", nil, []*tensor{vector(1, -1), vector(math.MaxInt32, -5), vector(1, 2), vector(1, -2)}, []int{2, 2, 2}, func(i, j, k int) float64 { return at(i, j+1, 3-2*k) }},
		{"Gather", ints("axis", 1), []*tensor{vector(2, -3)}, []int{2, 2, 4}, func(i, j, k int) float64 { return at(i, []int{2, 0}[j], k) }},
		{"Expand", nil, []*tensor{vector(2, 1, 4)}, []int{2, 3, 4}, at},
		{"Tile", nil, []*tensor{vector(1, 2, 1)}, []int{2, 6, 4}, func(i, j, k int) float64 { return at(i, j%3, k) }},
		{"Concat", ints("axis", -1), []*tensor{x}, []int{2, 3, 8}, func(i, j, k int) float64 { return at(i, j, k%4) }},
		{"Reshape", nil, []*tensor{vector(0, -1, 2)}, []int{2, 6, 2}, func(i, j, k int) float64 { return float64(i*12 + j*2 + k) }},
	} {
		out, err := c.view(&node{op: test.op, attributes: test.attr, outputs: []string{"y"}}, append([]*tensor{x}, test.in...))
		if err != nil {
			t.Errorf("%s: %v", test.op, err)
			continue
		}
		if !slices.Equal(out[0].shape, test.shape) {
			t.Errorf("%s: shape %v, want %v", test.op, out[0].shape, test.shape)
			continue
		}
		for i, v := range out[0].data {
			k, j := i%test.shape[2], i/test.shape[2]%test.shape[1]
			if want := test.want(i/test.shape[2]/test.shape[1], j, k); v != want {
				t.Errorf("%s: element %d is %v, want %v", test.op, i, v, want)
				break
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file([]message{weight}, op("MatMul x w -> y")))
	for _, archive := range archives(f) {
		for _, member := range archive.File {
			if strings.HasSuffix(member.Name, ".onnx") && member.UncompressedSize64 < 1<<14 {
				r, err := member.Open()
				if err != nil {
					f.Fatal(err)
				}
				data, err := io.ReadAll(r)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(data)
			}
		}
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(data, folder, "ce", []int{5, 3}, 1<<18)
		if (m == nil) != (err != nil) {
			t.Fatalf("model %v and error %v", m, err)
		}
		if err != nil {
			_ = fmt.Sprint(err)
		}
	})
}

func constant(name string, v float32) message {
	return append(message{}.text(2, name).text(3, name).text(4, "Constant"), message{}.bytes(5, message{}.text(1, "value").bytes(5, floats("", nil, v)))...)
}

// TestRecognises: what stands before, in and after a computation is told apart.
func TestRecognises(t *testing.T) {
	norm := func(in, out string) []message { // layernorm, decomposed, without gain and bias
		names := strings.NewReplacer("IN", in, "OUT", out)
		var nodes []message
		for _, text := range []string{"ReduceMean IN -> OUTm", "Sub IN OUTm -> OUTd", "Mul OUTd OUTd -> OUTq", "ReduceMean OUTq -> OUTv", "Add OUTv eps -> OUTe", "Sqrt OUTe -> OUTs", "Div OUTd OUTs -> OUT"} {
			var last []message
			if strings.HasPrefix(text, "ReduceMean") {
				last = append(last, message{}.text(1, "axes").integer(8, -1))
			}
			nodes = append(nodes, op(names.Replace(text), last...))
		}
		return nodes
	}
	begin := []message{constant("eps", 1e-5), constant("two", 2), constant("six", 6), constant("zero", 0), constant("half", 0.5), op("MatMul x w -> h")}
	for _, c := range []struct {
		name, want string
		nodes      [][]message
	}{
		{"residual of one layer", "linear tanh add", [][]message{{op("Tanh h -> a"), op("Add h a -> y")}}},
		{"activation of an activation", "linear relu tanh", [][]message{{op("Relu h -> a"), op("Tanh a -> y")}}},
		{"silu of a softsign", "linear softsign silu", [][]message{{op("Softsign h -> a"), op("Sigmoid a -> b"), op("Mul a b -> y")}}},
		{"relu6", "linear relu6", [][]message{{op("Clip h zero six -> y")}}},
		{"relu6 from min and max", "linear relu6", [][]message{{op("Max h zero -> a"), op("Min six a -> y")}}},
		{"leaky relu by hand", "linear leaky_relu(0.5)", [][]message{{op("Mul h half -> a"), op("Max a h -> y")}}},
		{"silu from tanh", "linear silu", [][]message{{op("Mul h half -> a"), op("Tanh a -> b"), op("Mul a b -> c"), op("Add a c -> y")}}},
		{"factors that cancel", "linear", [][]message{{op("Mul h two -> a"), op("Div a two -> y")}}},
		{"norm", "linear layernorm", [][]message{norm("h", "y")}},
		{"norm of a norm", "linear layernorm layernorm", [][]message{norm("h", "a"), norm("a", "y")}},
		{"norm of an activation", "linear gelu layernorm", [][]message{{op("Gelu h -> a")}, norm("a", "y")}},
		{"activation of a norm", "linear layernorm sin", [][]message{norm("h", "a"), {op("Sin a -> y")}}},
		{"residual about a norm", "linear layernorm add", [][]message{norm("h", "a"), {op("Add h a -> y")}}},
		{"tied layers", "linear relu linear add", [][]message{{op("Relu h -> a"), op("MatMul a w -> b"), op("Add b h -> y")}}},
		{"there and back", "linear tanh", [][]message{{op("Transpose h -> a"), op("Tanh a -> b"), op("Transpose b -> y")}}},
	} {
		m, err := read(file([]message{weight}, slices.Concat(append([][]message{begin}, c.nodes...)...)...), "", "mse", nil, 1<<20)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, l := range m.Network.Spec.Layers {
			got = append(got, l.Type)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: layers %v, want %s", c.name, got, c.want)
		}
	}
}
