package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// encode builds a safetensors file from its JSON header and its data.
func encode(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func writeTemp(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSafetensorsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		var want []Named
		names := rapid.SliceOfDistinct(rapid.StringMatching(`[a-z0-9."é]{0,8}`), func(s string) string { return s }).Draw(r, "names")
		for _, name := range names {
			n := Named{Name: name, Shape: rapid.SliceOfN(rapid.IntRange(0, 7), 0, 3).Draw(r, "shape")}
			length, _ := elements(n.Shape)
			if rapid.Bool().Draw(r, "double") {
				n.F64 = rapid.SliceOfN(rapid.Float64(), length, length).Draw(r, "values")
			} else {
				n.F32 = rapid.SliceOfN(rapid.Float32(), length, length).Draw(r, "values")
			}
			want = append(want, n)
		}
		metadata := rapid.MapOf(rapid.StringMatching(`[a-z]+`), rapid.StringMatching(`[a-z<"\n]*`)).Draw(r, "metadata")
		path := filepath.Join(dir, "x.safetensors")
		if err := WriteSafetensors(path, want, metadata); err != nil {
			r.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			r.Fatal(err)
		}
		defer f.Close()
		if len(f.Tensors) != len(want) || f.Format != "safetensors" {
			r.Fatalf("got %d tensors of %s, want %d", len(f.Tensors), f.Format, len(want))
		}
		if len(metadata) > 0 && !cmp.Equal(f.Metadata, metadata) {
			r.Fatal(cmp.Diff(metadata, f.Metadata))
		}
		for _, n := range want {
			got, err := f.Tensor(n.Name)
			if err != nil {
				r.Fatal(err)
			}
			double := make([]float64, got.Len())
			single := make([]float32, got.Len())
			if err := got.Float64(double); err != nil {
				r.Fatal(err)
			}
			if err := got.Float32(single); err != nil {
				r.Fatal(err)
			}
			if fmt.Sprint(got.Shape) != fmt.Sprint(n.Shape) {
				r.Fatalf("%q: shape %v, want %v", n.Name, got.Shape, n.Shape)
			}
			for i, x := range n.F64 {
				if double[i] != x || single[i] != float32(x) {
					r.Fatalf("%q[%d] = %v and %v, want %v", n.Name, i, double[i], single[i], x)
				}
			}
			for i, x := range n.F32 {
				if double[i] != float64(x) || single[i] != x {
					r.Fatalf("%q[%d] = %v and %v, want %v", n.Name, i, double[i], single[i], x)
				}
			}
		}
	})
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("temporary files left behind: %v %v", left, err)
	}
}

func TestBlocks(t *testing.T) {
	const n = 2*blockLen + 17
	want := make([]float32, n)
	for i := range want {
		want[i] = float32(i)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, []Named{{Name: "w", Shape: []int{n}, F32: want}}, nil); err != nil {
		t.Fatal(err)
	}
	i := 0
	for block, err := range open(t, path).Tensors[0].Blocks() {
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range block {
			if x != float64(want[i]) {
				t.Fatalf("element %d = %v, want %v", i, x, want[i])
			}
			i++
		}
	}
	if i != n {
		t.Errorf("got %d elements, want %d", i, n)
	}
}

func TestSafetensorsRefuses(t *testing.T) {
	const f32 = `"dtype":"F32"`
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "empty"},
		{"short", []byte("abc"), "not a checkpoint"},
		{"text", []byte("hello, this is no checkpoint"), "not a checkpoint"},
		{"header too long", append(binary.LittleEndian.AppendUint64(nil, 1<<40), "{}"...), "above the limit"},
		{"header truncated", encode(`{"a":{}}`, 0)[:12], "truncated: expected a header of 8 bytes, got 4"},
		{"not JSON", encode(`{"a":`, 0), "not valid JSON"},
		{"trailing", encode(`{} {}`, 0), "nothing after"},
		{"not UTF-8", encode("{\"\xff\":1}", 0), "not UTF-8"},
		{"not an object", encode(`{"a":3}`, 0), `tensor "a": expected an object`},
		{"duplicate", encode(`{"a":{`+f32+`,"shape":[],"data_offsets":[0,4]},"a":{`+f32+`,"shape":[],"data_offsets":[0,4]}}`, 4), `two tensors are called "a"`},
		{"duplicate key", encode(`{"a":{`+f32+`,`+f32+`,"shape":[],"data_offsets":[0,4]}}`, 4), "given twice"},
		{"unknown key", encode(`{"a":{`+f32+`,"Shape":[]}}`, 4), `unknown key "Shape"`},
		{"missing key", encode(`{"a":{`+f32+`,"shape":[]}}`, 4), "expected dtype, shape and data_offsets"},
		{"unknown dtype", encode(`{"a":{"dtype":"F31","shape":[],"data_offsets":[0,4]}}`, 4), `unknown dtype "F31"`},
		{"negative", encode(`{"a":{`+f32+`,"shape":[-1],"data_offsets":[0,4]}}`, 4), "non-negative integer, got -1"},
		{"fraction", encode(`{"a":{`+f32+`,"shape":[1.5],"data_offsets":[0,4]}}`, 4), "non-negative integer, got 1.5"},
		{"overflow", encode(`{"a":{`+f32+`,"shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}`, 4), "too many elements"},
		{"hidden overflow", encode(`{"a":{`+f32+`,"shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "too many elements"},
		{"one offset", encode(`{"a":{`+f32+`,"shape":[1],"data_offsets":[0]}}`, 4), "expected two offsets, got 1"},
		{"beyond the end", encode(`{"a":{`+f32+`,"shape":[2],"data_offsets":[0,8]}}`, 4), "outside the 4 bytes"},
		{"reversed", encode(`{"a":{`+f32+`,"shape":[2],"data_offsets":[0,8]},"b":{`+f32+`,"shape":[1],"data_offsets":[8,4]}}`, 8), "outside"},
		{"wrong size", encode(`{"a":{`+f32+`,"shape":[2],"data_offsets":[0,4]}}`, 4), "needs 8 bytes, got 4"},
		{"gap", encode(`{"a":{`+f32+`,"shape":[1],"data_offsets":[4,8]}}`, 8), "begin at offset 0"},
		{"overlap", encode(`{"a":{`+f32+`,"shape":[2],"data_offsets":[0,8]},"b":{`+f32+`,"shape":[1],"data_offsets":[4,8]}}`, 8), "begin at offset 8"},
		{"remainder", encode(`{"a":{`+f32+`,"shape":[1],"data_offsets":[0,4]}}`, 8), "expected 4 bytes of tensor data, got 8"},
		{"metadata", encode(`{"__metadata__":{"a":1}}`, 0), "expected a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeTemp(t, "bad.safetensors", tt.file)
			f, err := Open(path)
			if err == nil {
				f.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q and the path", err, tt.want)
			}
		})
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := Open("absent.safetensors"); err == nil || !strings.Contains(err.Error(), "absent.safetensors") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := []float32{1}
	tests := map[string][]Named{
		"needs 2 values, got 1":     {{Name: "a", Shape: []int{2}, F32: one}},
		"not taken":                 {{Name: "a", F32: one}, {Name: "a", F32: one}},
		"reserved":                  {{Name: metadataKey, F32: one}},
		"got both":                  {{Name: "a", F32: one, F64: []float64{1}}},
		"negative dimension":        {{Name: "a", Shape: []int{-1}, F32: one}},
		"in UTF-8":                  {{Name: "\xff", F32: one}},
		"no such file or directory": nil,
	}
	for want, tensors := range tests {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.safetensors")
		if tensors == nil {
			path = filepath.Join(dir, "absent", "x.safetensors")
		}
		err := WriteSafetensors(path, tensors, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: files left behind: %v", want, left)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	path := writeTemp(t, "x.safetensors", encode(`{"n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, 16))
	f := open(t, path)
	if err := f.Tensors[0].Float32(make([]float32, 1)); err == nil || !strings.Contains(err.Error(), `tensor "n": expected a floating-point dtype`) {
		t.Errorf("integers: %v", err)
	}
	if err := f.Tensors[1].Float64(make([]float64, 3)); err == nil || !strings.Contains(err.Error(), "room for 2 values, got 3") {
		t.Errorf("wrong length: %v", err)
	}
	if _, err := f.Tensor("v"); err == nil || !strings.Contains(err.Error(), `no tensor "v"`) {
		t.Errorf("missing tensor: %v", err)
	}
	f.Close()
	if err := f.Tensors[1].Float64(make([]float64, 2)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

// TestTruncatedWhileOpen shrinks a mapped file: the access faults, and must
// come back as an error.
func TestTruncatedWhileOpen(t *testing.T) {
	const n = 1 << 16
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, []Named{{Name: "w", Shape: []int{n}, F32: make([]float32, n)}}, nil); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	err := f.Tensors[0].Float32(make([]float32, n))
	if err == nil && f.maps[0].mapped {
		t.Error("no error")
	}
	if err != nil && !strings.Contains(err.Error(), "became shorter") {
		t.Error(err)
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		sign, exp, frac := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1+frac/1024, exp-15)
		switch {
		case exp == 0:
			want = sign * math.Ldexp(frac/1024, -14)
		case exp == 31 && frac == 0:
			want = math.Inf(int(sign))
		case exp == 31:
			want = math.NaN()
		}
		got := float64(halfToFloat(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) && want == want {
			t.Fatalf("halfToFloat(%#x) = %v, want %v", h, got, want)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add(encode(`{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"k":"v"}}`, 24))
	f.Add(encode(`{"a":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Add(encode(`{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}`, 2))
	f.Fuzz(checkContent)
}

// checkContent opens content as a file would be. It must give an error or
// tensors that can all be read without one.
func checkContent(t *testing.T, content []byte) {
	m := &mapping{path: "fuzz", data: bytes.Clone(content)}
	f := &File{Path: "fuzz"}
	if err := f.parse(m); err != nil {
		return
	}
	for _, tensor := range f.Tensors {
		n := tensor.Len()
		if n < 0 {
			t.Fatalf("%q has %d elements", tensor.Name, n)
		}
		if !tensor.Readable() || n > 1<<20 {
			continue
		}
		count := 0
		for block, err := range tensor.Blocks() {
			if err != nil {
				t.Fatal(err)
			}
			count += len(block)
		}
		if count != n {
			t.Fatalf("%q: read %d elements of %d", tensor.Name, count, n)
		}
	}
}
