package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		line string
		want Record
	}{
		{`{"v":1,"t":1.5,"step":3,"kind":"step","loss":0.25}`, Record{Time: 1.5, Step: 3, Kind: "step", Values: map[string]float64{"loss": 0.25}}},
		{" { \"loss\" : 1e-3 , \"kind\" : \"step\" , \"step\" : -1 , \"t\" : 0 , \"v\" : 1 }\r\n", Record{Step: -1, Kind: "step", Values: map[string]float64{"loss": 1e-3}}},
		{`{"v":1,"t":0,"step":0,"kind":"k","a":NaN,"b":"NaN","c":Infinity,"d":-Infinity,"e":"-Infinity","f":1e999}`,
			Record{Kind: "k", Values: map[string]float64{"a": math.NaN(), "b": math.NaN(), "c": math.Inf(1), "d": math.Inf(-1), "e": math.Inf(-1), "f": math.Inf(1)}}},
		{`{"v":1,"t":0,"step":0,"kind":"k","mine":{"a":[1,"}"]},"flag":true,"none":null,"text":"tab\t","word":"x","a":1,"a":2}`,
			Record{Kind: "k", Text: "tab\t", Values: map[string]float64{"a": 2}}},
		{`{"v":1,"t":1763921.1234567,"step":9223372036854775807,"kind":"layer","layer":"café","x":0.1234567890123456,"y":123456789012345678}`,
			Record{Time: 1763921.1234567, Step: math.MaxInt64, Kind: "layer", Layer: "café", Values: map[string]float64{"x": 0.1234567890123456, "y": 123456789012345678}}},
	} {
		var got Record
		line := strings.ReplaceAll(c.line, "tab\t", `tab\t`)
		if err := got.UnmarshalJSON([]byte(line)); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		same(t, got, c.want)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, "expected an object"},
		{`[]`, "expected an object"},
		{`{}`, `the field "v" is missing`},
		{`{"v":1,"t":1,"step":1}`, `the field "kind" is missing`},
		{`{"v":2,"t":1,"step":1,"kind":"step"}`, "version 2"},
		{`{"v":1,"t":NaN,"step":1,"kind":"step"}`, "finite time"},
		{`{"v":1,"t":null,"step":1,"kind":"step"}`, "expected a number"},
		{`{"v":1,"t":1,"step":1.5,"kind":"step"}`, "expected an integer"},
		{`{"v":1,"t":1,"step":9223372036854775808,"kind":"step"}`, "expected an integer"},
		{`{"v":1,"t":1,"step":1,"kind":""}`, "kind is empty"},
		{`{"v":1,"t":1,"step":1,"kind":"step","a":01}`, "expected a number"},
		{`{"v":1,"t":1,"step":1,"kind":"step","a":1.}`, "expected a number"},
		{`{"v":1,"t":1,"step":1,"kind":"step","a":[}]}`, "expected a value"},
		{`{"v":1,"t":1,"step":1,"kind":"step","a":1}}`, "expected the end of the line"},
		{`{"v":1,"t":1,"step":1,"kind":"step","a":"x`, "got the end of the line"},
		{`{"v":1,"t":1,"step":1,"kind":"st` + "\n" + `ep"}`, "invalid character"},
	} {
		var r Record
		if err := r.UnmarshalJSON([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Filter(func(s string) bool { return !reserved(s) })
		value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0.1, 123456.789}))
		want := Record{
			Time:   rapid.Float64().Draw(t, "time"),
			Step:   rapid.Int64().Draw(t, "step"),
			Kind:   rapid.StringN(1, -1, -1).Draw(t, "kind"),
			Layer:  rapid.String().Draw(t, "layer"),
			Text:   rapid.String().Draw(t, "text"),
			Values: rapid.MapOf(name, value).Draw(t, "values"),
		}
		line, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Record
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func equal(a, b Record) bool {
	if a.Time != b.Time || a.Step != b.Step || a.Kind != b.Kind || a.Layer != b.Layer || a.Text != b.Text || len(a.Values) != len(b.Values) {
		return false
	}
	for name, x := range a.Values {
		y, ok := b.Values[name]
		if !ok || x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
			return false
		}
	}
	return true
}

// FuzzDecode holds the decoder against encoding/json: what it takes is JSON but
// for NaN and Infinity, what it reads is what encoding/json reads, and what it
// refuses is no record.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"t":1.5,"step":3,"kind":"layer","layer":"0","loss":0.25,"a":"NaN"}`))
	f.Add([]byte(`{"v":1,"t":1e9,"step":3,"kind":"k","x":{"y":[1,2,"\"}"]},"z":true,"w":-0.5e-7}`))
	f.Add([]byte(`{"v":1,"t":0,"step":0,"kind":"é\n","a":NaN}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var d decoder
		err := d.decode(line)
		valid := json.Valid(line)
		if err == nil && !valid && !bytes.Contains(line, []byte("NaN")) && !bytes.Contains(line, []byte("Infinity")) {
			t.Fatalf("%q is not JSON", line)
		}
		if !valid {
			return
		}
		fields := map[string]any{}
		reader := json.NewDecoder(bytes.NewReader(line))
		reader.UseNumber()
		if reader.Decode(&fields) != nil {
			return
		}
		if err != nil {
			return
		}
		got := d.record()
		for name, x := range got.Values {
			s := fmt.Sprint(fields[name])
			var want float64
			if w, ok := notFinite(s); ok {
				want = w
			} else if n, ok := fields[name].(json.Number); ok {
				want, _ = n.Float64() // out of range is infinite
			} else {
				continue // a name that came twice, the last time as something else
			}
			if x != want && !(math.IsNaN(x) && math.IsNaN(want)) {
				t.Fatalf("%q: %q is %v, want %v", line, name, x, want)
			}
		}
		again, err := got.MarshalJSON()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", line, err)
		}
		var back Record
		if err := back.UnmarshalJSON(again); err != nil || !equal(back, got) {
			t.Fatalf("%q: %v, then %v (%v)", line, got, back, err)
		}
	})
}

// layers is a run as long as asked, of layer records as training writes them.
func layers(b testing.TB, records int) string {
	dir := b.TempDir()
	must(b, os.WriteFile(filepath.Join(dir, modelFile), []byte("{}"), 0o644))
	var lines []byte
	for i := range records {
		x := float64(i + 1)
		line, err := Record{Time: 1.7e9 + x/8, Step: int64(i / 4), Kind: KindLayer, Layer: fmt.Sprint(i % 4 * 2), Values: map[string]float64{
			"virial": math.Sin(x), "gradient_norm2": 1 / x, "example_gradient_norm2": math.Sqrt(x), "update_norm2": 1e-5 / x, "weight_norm": 12.5}}.MarshalJSON()
		must(b, err)
		lines = append(append(lines, line...), '\n')
	}
	must(b, os.WriteFile(filepath.Join(dir, eventsFile), lines, 0o644))
	return dir
}

func BenchmarkRecords(b *testing.B) {
	const records = 200_000
	dir := layers(b, records)
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range Records(dir) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkStandardLibrary reads the same lines with encoding/json, in one pass.
func BenchmarkStandardLibrary(b *testing.B) {
	const records = 200_000
	text, err := os.ReadFile(filepath.Join(layers(b, records), eventsFile))
	must(b, err)
	for b.Loop() {
		for line := range bytes.Lines(text) {
			fields := map[string]any{}
			must(b, json.Unmarshal(line, &fields))
		}
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkIndex(b *testing.B) {
	const records = 200_000
	dir := layers(b, records)
	for b.Loop() {
		os.Remove(filepath.Join(dir, indexFile))
		index, _, err := OpenIndex(dir)
		if err != nil {
			b.Fatal(err)
		}
		index.Close()
	}
	b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// TestMemory reads a long run: what is held must not grow with it.
func TestMemory(t *testing.T) {
	dir := layers(t, 100_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range Records(dir) {
	}
	index, _, err := OpenIndex(dir)
	must(t, err)
	defer index.Close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("reading 100,000 records left %d bytes", grown)
	}
}

// TestDecimal compares with strconv on numbers of all lengths, and on those half
// way between two float64s and next to it.
func TestDecimal(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	slow, total := 0, 0
	check := func(n uint64, k int) (taken bool) {
		t.Helper()
		want, err := strconv.ParseFloat(fmt.Sprintf("%de%d", n, -k), 64)
		must(t, err)
		got, taken := decimal(n, k)
		if taken && got != want {
			t.Fatalf("%d × 10^%d is %v, expected %v", n, -k, got, want)
		}
		return taken
	}
	for range 30_000 {
		if total++; !check(random.Uint64()>>random.IntN(64), random.IntN(64)) {
			slow++
		}
		half := 2*(1<<52+random.Uint64N(1<<52)) + 1 // of 54 bits
		for k := range 4 {
			check(half*[]uint64{1, 10, 100, 1000}[k], k)
			check(half*[]uint64{1, 10, 100, 1000}[k]+random.Uint64N(3)-1, k)
		}
	}
	for _, n := range []uint64{0, 1, 1<<53 - 1, 1 << 53, 1e19 - 1} {
		for k := range 64 {
			check(n, k)
		}
	}
	if slow*50 > total {
		t.Errorf("%d of %d numbers were not taken", slow, total)
	}
	for _, k := range []int{-1, 64, 9999, -9999} {
		if x, ok := decimal(1, k); ok {
			t.Errorf("1e%d was taken as %v", -k, x)
		}
	}
}
