package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o644))
	return path
}

func read(path string) (points []Point, problem error) {
	for p, err := range Read(path) {
		if err != nil {
			return points, err
		}
		points = append(points, p)
	}
	return points, nil
}

// TestTensorBoard reads what PyTorch's SummaryWriter wrote (testdata/make_events.py).
func TestTensorBoard(t *testing.T) {
	for _, path := range []string{"testdata", "testdata/events.out.tfevents.fixture"} {
		points, err := read(path)
		must(t, err)
		got := map[string]int{}
		for _, p := range points {
			got[p.Name]++
			want := map[string]float64{"train/loss": float64(float32(2 / float64(p.Step+1))), "train/learning_rate": float64(float32(0.1)),
				"new": float64(float32(float64(p.Step) / 3)), "odd": math.Inf(1), "double": 1e-3}[p.Name]
			if p.Name == "odd" && p.Step == 20 {
				want = math.NaN()
			}
			if p.Value != want && !(math.IsNaN(want) && math.IsNaN(p.Value)) || p.Time != float64(1700000000+p.Step) {
				t.Errorf("%+v, expected the value %v", p, want)
			}
		}
		if fmt.Sprint(got) != "map[double:1 new:5 odd:5 train/learning_rate:5 train/loss:5]" {
			t.Errorf("%v", got)
		}
	}
}

// TestCutEvents reads every beginning of an event file: what is whole is read,
// and the rest is called torn.
func TestCutEvents(t *testing.T) {
	data, err := os.ReadFile("testdata/events.out.tfevents.fixture")
	must(t, err)
	all, err := read("testdata")
	must(t, err)
	ends := map[int]bool{0: true}
	for at := 0; at < len(data); {
		at += 16 + int(binary.LittleEndian.Uint64(data[at:]))
		ends[at] = true
	}
	for n := range len(data) {
		points, err := readEvents(data[:n])
		var torn *TornError
		if ends[n] != (err == nil) || err != nil && !errors.As(err, &torn) || len(points) > len(all) {
			t.Fatalf("cut at %d: %d points, %v", n, len(points), err)
		}
	}
	// Every single byte that is wrong is noticed.
	for i := range data {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0x10
		if _, err := readEvents(damaged); err == nil {
			t.Fatalf("byte %d is wrong, and nobody noticed", i)
		}
	}
}

func readEvents(data []byte) (points []Point, problem error) {
	for p, err := range events("x", bufio.NewReaderSize(bytes.NewReader(data), 1<<18), int64(len(data))) {
		if err != nil {
			return points, err
		}
		points = append(points, p)
	}
	return points, nil
}

func TestText(t *testing.T) {
	for _, test := range []struct {
		name, text, want, problem string
	}{
		{"a.csv", "step,loss,lr\n10,2.5,0.1\n20,,0.1\n30,nan,x\n", "10 loss 2.5|10 lr 0.1|20 lr 0.1|30 loss NaN", ""},
		{"a.csv", "epoch,time,loss\n1,100,2\n", "1 loss 2 @100", ""},
		{"a.csv", "step (count),energy (loss)\n7,2\n", "7 energy (loss) 2", ""},
		{"a.csv", "loss\n3\n2\n", "1 loss 3|2 loss 2", ""},
		{"a.csv", "\xef\xbb\xbfstep,loss\r\n1,2\r\n", "1 loss 2", ""},
		{"a.csv", "1,2\n3,4\n", "", "expected a first line with the names"},
		{"a.csv", "step,loss\n1,2\n2", "1 loss 2", "torn"},
		{"a.csv", "step,loss\n1,2,3\n2,2\n", "", "line 2: expected 2 cells, got 3"},
		{"a.csv", "step,loss\n1e300,2\n2,2\n", "", "line 2: expected a step"},
		{"a.csv", "", "", "the file is empty"},
		{"a.jsonl", `{"step": 5, "loss": 1.5, "grad": {"norm": 2}, "who": "me"}` + "\n\n" + `{"step": 6, "loss": NaN}` + "\n", "5 grad/norm 2|5 loss 1.5|6 loss NaN", ""},
		{"a.jsonl", `{"timestamp": "2024-01-01T00:00:00Z", "loss": -Infinity}`, "1 loss -Inf @1704067200", ""},
		{"a.jsonl", `{"step": 5, "loss": 1}` + "\n" + `{"step": 6, "lo`, "5 loss 1", "the record at offset 23 is torn"},
		{"a.jsonl", `{"step": 5,` + "\n" + `{"step": 6, "loss": 1}` + "\n", "", "line 1"},
		{"a.jsonl", `{"step": 1e30, "loss": 1}`, "", "line 1: expected a step"},
		{"x.tfevents.y", "", "", ""},
		{"x.tfevents.y", "this is no event file", "", "the checksum of its length is wrong"},
	} {
		points, err := read(write(t, test.name, []byte(test.text)))
		var got []string
		for _, p := range points {
			s := fmt.Sprintf("%d %s %v", p.Step, p.Name, p.Value)
			if p.Time != 0 {
				s += fmt.Sprintf(" @%.0f", p.Time)
			}
			got = append(got, s)
		}
		if strings.Join(got, "|") != test.want || (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%q: got %q, %v; expected %q, %q", test.text, got, err, test.want, test.problem)
		}
	}
	if _, err := read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no event files") {
		t.Errorf("an empty folder: %v", err)
	}
}

func FuzzEvents(f *testing.F) {
	data, err := os.ReadFile("testdata/events.out.tfevents.fixture")
	must(f, err)
	f.Add(data, false)
	f.Add(data[24:200], true)
	f.Fuzz(func(t *testing.T, data []byte, wrap bool) {
		if wrap { // checksums are hard to guess
			data = record(data)
		}
		if points, _ := readEvents(data); len(points) > len(data) {
			t.Errorf("%d points of %d bytes", len(points), len(data))
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("step,loss\n1,2\n")
	f.Add(`{"step": 5, "loss": {"a": NaN}}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) == 0 {
			return
		}
		for range table("x", strings.NewReader(text)) {
		}
		for range jsonLines("x", strings.NewReader(text)) {
		}
	})
}

// record frames data as one record of an event file.
func record(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}

// scalarEvent is one scalar as TensorBoard writes it.
func scalarEvent(step int, tag string, value float32) []byte {
	v := append([]byte{valueTag<<3 | bytesWire, byte(len(tag))}, tag...)
	v = binary.LittleEndian.AppendUint32(append(v, valueSimple<<3|fixed32), math.Float32bits(value))
	summary := append([]byte{summaryValue<<3 | bytesWire, byte(len(v))}, v...)
	e := binary.LittleEndian.AppendUint64([]byte{eventTime<<3 | fixed64}, math.Float64bits(1.7e9))
	e = binary.AppendUvarint(append(e, eventStep<<3|varint), uint64(step))
	return record(append(append(e, eventSummary<<3|bytesWire, byte(len(summary))), summary...))
}

func BenchmarkEvents(b *testing.B) {
	const count = 500_000
	var data []byte
	for i := range count {
		data = append(data, scalarEvent(i/4, []string{"train/loss", "train/learning_rate", "train/grad_norm", "eval/loss"}[i%4], 1)...)
	}
	path := write(b, "events.out.tfevents.1", data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range Read(path) {
			must(b, err)
			n++
		}
		if n != count {
			b.Fatal(n)
		}
	}
	b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
