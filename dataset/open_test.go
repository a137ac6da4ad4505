package dataset

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func counting(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return x
}

// Files that numpy wrote (testdata/make.py), in every dtype, byte order and
// memory order, read as the same numbers.
func TestReadsNumpyFiles(t *testing.T) {
	for _, name := range []string{"f2", "f4", "f8", "f4_big", "f8_big", "i1", "i2", "i4", "i8", "i4_big", "u1", "u2", "u4", "u8", "fortran"} {
		s, err := Open("testdata/x_" + name + ".npy,testdata/y.npy")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(counting(24), s.X); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff([]int32{0, 2, 1, 2}, s.Labels); diff != "" || s.Classes != 3 || s.N != 4 {
			t.Errorf("%s: labels %s, %d classes, %d examples", name, diff, s.Classes, s.N)
		}
	}
	s, err := Open("testdata/x_bool.npy")
	if err != nil || s.X[0] != 1 || s.X[1] != 0 || s.X[3] != 1 || s.DType != "bool" {
		t.Errorf("bool: %v, %v", s, err)
	}
	if s, err = Open("testdata/set.npz"); err != nil || s.Classes != 3 || s.DType != "float32" {
		t.Errorf("npz: %v, %v", s, err)
	}
	if s, err = Open("testdata/targets.npz"); err != nil || s.Outputs != 2 || s.Y[3] != float32(7.0/7) {
		t.Errorf("targets: %v, %v", s, err)
	}
}

// What WriteNPZ writes, Open reads, and numpy reads.
func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set.npz")
	rapid.Check(t, func(t *rapid.T) {
		n, d := rapid.IntRange(1, 20).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "d")
		finite := rapid.Float32Range(-1e30, 1e30)
		want := &Set{N: n, Shape: []int{d}, DType: "float32", X: rapid.SliceOfN(finite, n*d, n*d).Draw(t, "x")}
		switch rapid.IntRange(0, 3).Draw(t, "answer") {
		case 1:
			want.setLabels(rapid.SliceOfN(rapid.Int32Range(0, 50), n, n).Draw(t, "labels"))
		case 2:
			want.Outputs = 3
			want.Y = rapid.SliceOfN(finite, 3*n, 3*n).Draw(t, "y")
		case 3:
			tokens := rapid.SliceOfN(rapid.Int32Range(0, 50), n*d, n*d)
			want.X, want.DType, want.Alphabet = convert[float32](tokens.Draw(t, "tokens")), "int64", []rune("abc")
			want.setLabels(tokens.Draw(t, "labels"))
		}
		if err := want.WriteNPZ(path); err != nil {
			t.Fatal(err)
		}
		got, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestNumpyReadsOurs(t *testing.T) {
	if err := exec.Command("python3", "-c", "import numpy").Run(); err != nil {
		t.Skip("SKIP: python3 with numpy is not installed")
	}
	dir := t.TempDir()
	s, err := Make("gaussian-mixture", Options{Examples: 50, Features: 3, Noise: 1, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := filepath.Join(dir, "ours.npz"), filepath.Join(dir, "theirs.npz")
	if err := s.WriteNPZ(ours); err != nil {
		t.Fatal(err)
	}
	script := "import sys, numpy as np; a = np.load(sys.argv[1]); np.savez_compressed(sys.argv[2], x=np.asfortranarray(a['x']), y=a['y'])"
	if out, err := exec.Command("python3", "-c", script, ours, theirs).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	back, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back); diff != "" {
		t.Error(diff)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCSV(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Set
	}{
		"header":     {"a,label,b\n1,0,2\n3,4,5\n", Set{N: 2, X: []float32{1, 2, 3, 5}, Labels: []int32{0, 4}, Classes: 5}},
		"bare":       {"1,2,0\r\n3,5,1\r\n", Set{N: 2, X: []float32{1, 2, 3, 5}, Labels: []int32{0, 1}, Classes: 2}},
		"regression": {"a,b,Y\n1,2,0.5\n3,5,-1\n", Set{N: 2, X: []float32{1, 2, 3, 5}, Y: []float32{0.5, -1}, Outputs: 1}},
		"last":       {"a,b,c\n1,2,0\n3,5,1\n", Set{N: 2, X: []float32{1, 2, 3, 5}, Labels: []int32{0, 1}, Classes: 2}},
	} {
		got, err := Open(write(t, "set.csv", []byte(c.text)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.want.Shape, c.want.DType = []int{2}, "text"
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func idx(kind byte, shape []byte, data ...byte) []byte {
	b := []byte{0, 0, kind, byte(len(shape))}
	for _, d := range shape {
		b = append(b, 0, 0, 0, d)
	}
	return append(b, data...)
}

func TestIDXBringsItsLabels(t *testing.T) {
	dir := t.TempDir()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(idx(8, []byte{2, 1, 2}, 0, 255, 51, 102))
	z.Close()
	images := filepath.Join(dir, "train-images-idx3-ubyte.gz")
	os.WriteFile(images, packed.Bytes(), 0o644)
	os.WriteFile(filepath.Join(dir, "train-labels-idx1-ubyte"), idx(8, []byte{2}, 7, 3), 0o644)
	got, err := Open(images)
	if err != nil {
		t.Fatal(err)
	}
	want := &Set{N: 2, Shape: []int{1, 2}, DType: "uint8", X: []float32{0, 1, 0.2, 0.4}, Labels: []int32{7, 3}, Classes: 8}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func npy(header string, data ...byte) []byte {
	b := append([]byte(npyMagic+"\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), data...)
}

func npz(t *testing.T, members map[string][]byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, data := range members {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	z.Close()
	return b.Bytes()
}

// Every bad file gets one line that names the place and what was expected.
func TestBadFiles(t *testing.T) {
	good := npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", 1, 2)
	bomb := npz(t, map[string][]byte{"x.npy": make([]byte, freeExpansion+1<<20)})
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"a.npz", []byte("no"), "expected an npz file"},
		{"a.npz", npz(t, map[string][]byte{"q.npy": good}), `expected an array named x, X`},
		{"a.npz", bomb, `array "x": 66` /* compressed bytes */},
		{"a.npz", npz(t, map[string][]byte{"x.npy": good, "y.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", 1, 2, 3)}), `array "y": expected 2 examples`},
		{"a.npz", npz(t, map[string][]byte{"x.npy": good, "y.npy": npy("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}", 1, 255)}), `array "y": expected class labels, integers from 0 to 1048575, got -1 at index [1]`},
		{"a.npy", good[:20], "truncated"},
		{"a.npy", good[:len(good)-1], "shape [2] of uint8 needs 2 bytes of data, got 1"},
		{"a.npy", nil, "expected an npy file"},
		{"a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 16)}"), "needs more than 2^62 bytes"},
		{"a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "expected lengths from 0"},
		{"a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 0, 0, 0, 0, 0, 0, 0, 0), "a single number"},
		{"a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3)}"), "at least one example"},
		{"a.npy", npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}"), "records"},
		{"a.npy", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}"), "expected dtype"},
		{"a.npy", npy("{'fortran_order': False, 'shape': (1,)}"), `expected the key "descr"`},
		{"a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 0, 0, 0xc0, 0x7f), "expected finite float32 numbers, got NaN at index [0]"},
		{"a.csv", nil, "empty file"},
		{"a.csv", []byte("a,b\n"), "at least one example"},
		{"a.csv", []byte("a,b\n1,2\n1,x\n"), `line 3, column 2: expected a finite number, got "x"`},
		{"a.csv", []byte("a,b\n1,2\n1,2,3\n"), "line 3: wrong number of fields"},
		{"a.csv", []byte("1,2\nnan,2\n"), `line 2, column 1: expected a finite number, got "nan"`},
		{"a.csv", []byte("a,label\n1,2\n1,0.5\n"), "example 2: expected a class label"},
		{"a.csv", []byte("1\n2\n"), "at least 2 comma-separated columns"},
		{"a.idx", idx(7, []byte{1}, 1), "IDX type"},
		{"a.idx", idx(8, []byte{3}, 1), "needs 3 bytes of data, got 1"},
		{"a.idx", []byte{0, 0, 8, 200}, "1 to 32 axes"},
		{"a.idx", []byte{0, 0, 8, 3, 255, 255, 255, 255}, "truncated"},
		{"a.idx.gz", []byte("no"), "expected gzip data"},
		{"a.txt", nil, "expected a name that ends in"},
	} {
		path := write(t, c.name, c.data)
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	for _, path := range []string{"testdata/none.npz", "testdata/object.npy", "/dev/zero.npy"} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

// check fails if a parser gives a set that breaks its own promises.
func check(t *testing.T, s *Set, err error) {
	if err != nil {
		return
	}
	if s.N < 1 || len(s.X) != s.N*s.Features() || len(s.Labels)%s.N != 0 || len(s.Y) != s.N*s.Outputs {
		t.Fatalf("%d examples of shape %v: %d features, %d labels, %d targets", s.N, s.Shape, len(s.X), len(s.Labels), len(s.Y))
	}
}

func seedFiles(f *testing.F, pattern string) {
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzNPY(f *testing.F) {
	seedFiles(f, "testdata/*.npy")
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := parseNPY("x", data); err == nil {
			s, err := assemble(a, a, false)
			check(t, s, err)
		}
	})
}

func FuzzNPZ(f *testing.F) {
	seedFiles(f, "testdata/*.npz")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseNPZ(bytes.NewReader(data), int64(len(data)))
		check(t, s, err)
	})
}

// An array is read by its name, in full precision; one that is not there has no shape.
func TestOpenArray(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	want := []float64{1.0 / 3, -2, 5e300, 0, 1, 2}
	if err := WriteArrays(path, []Array{{Name: "w", Shape: []int{2, 3}, Data: want}}); err != nil {
		t.Fatal(err)
	}
	values, shape, err := OpenArray(path, "w")
	if err != nil || cmp.Diff(want, values) != "" || cmp.Diff([]int{2, 3}, shape) != "" {
		t.Errorf("got %v of shape %v, %v", values, shape, err)
	}
	if _, shape, err := OpenArray(path, "x"); shape != nil || err != nil {
		t.Errorf("a missing array: shape %v, %v", shape, err)
	}
	if _, _, err := OpenArray(write(t, "bad.npz", []byte("no")), "x"); err == nil || !strings.Contains(err.Error(), "bad.npz: expected an npz file") {
		t.Errorf("no archive: %v", err)
	}
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,label,b\n1,0,2\n3,4,5\n"))
	f.Add([]byte("1,2.5\n\"3\",-4e3\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseCSV(bytes.NewReader(data))
		check(t, s, err)
	})
}

func FuzzIDX(f *testing.F) {
	f.Add(idx(8, []byte{2, 1, 2}, 0, 255, 51, 102))
	f.Add(idx(0x0D, []byte{1}, 0x3f, 0x80, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := parseIDX("x", data); err == nil {
			s, err := assemble(a, a, true)
			check(t, s, err)
		}
	})
}
