package power

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kelvin-ml/kelvin/run"
)

func energy(t testing.TB, trace Trace, from, to float64) Use {
	t.Helper()
	u, err := trace.Energy(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %g, want %g ± %g", what, got, want, tolerance)
	}
}

// TestEnergy integrates a ramp, exactly, from and to times between readings.
func TestEnergy(t *testing.T) {
	var ramp Trace
	for i := range 11 {
		ramp.add(float64(100+i), float64(10*i), 0)
	}
	u := energy(t, ramp, 100, 110)
	near(t, "all", u.Joules, 500, 1e-9)
	near(t, "error of a ramp", u.StdErr, 0, 1e-9)
	if u.Readings != 11 || u.Seconds != 10 || u.Gaps != nil {
		t.Errorf("got %+v", u)
	}
	near(t, "part", energy(t, ramp, 101.5, 102.25).Joules, 5*(2.25*2.25-1.5*1.5), 1e-9)
	outside := energy(t, ramp, 90, 120)
	near(t, "with both sides", outside.Joules, 500, 1e-9)
	if len(outside.Gaps) != 2 || outside.Gaps[0] != (Gap{90, 100}) || outside.Gaps[1] != (Gap{110, 120}) {
		t.Errorf("gaps %v", outside.Gaps)
	}
	if u := energy(t, ramp, 200, 300); u.Joules != 0 || len(u.Gaps) != 1 || u.Seconds != 0 {
		t.Errorf("elsewhere: %+v", u)
	}
	if _, err := ramp.Energy(2, 1); err == nil {
		t.Error("no error for time that runs backwards")
	}
}

// TestGap leaves a gap out, and says which it was; a counter has none.
func TestGap(t *testing.T) {
	trace := Trace{Time: []float64{0, 1, 2, 3, 103, 104}, Watts: []float64{100, 100, 100, 100, 100, 100}}
	u := energy(t, trace, 0, 104)
	near(t, "gap left out", u.Joules, 400, 1e-9)
	if len(u.Gaps) != 1 || u.Gaps[0] != (Gap{3, 103}) || u.Seconds != 4 {
		t.Errorf("got %+v", u)
	}
	trace.Counter = true
	near(t, "counter", energy(t, trace, 0, 104).Joules, 10400, 1e-9)
}

// TestEnergyError compares the error of the integral of noise with the scatter
// of many.
func TestEnergyError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var sum, sum2, said float64
	const n = 400
	for range n {
		var trace Trace
		for i := range 101 {
			trace.add(float64(i), 200+10*r.NormFloat64(), 0)
		}
		u := energy(t, trace, 0, 100)
		sum, sum2, said = sum+u.Joules, sum2+u.Joules*u.Joules, said+u.StdErr/n
	}
	near(t, "scatter over error", math.Sqrt(sum2/n-sum*sum/n/n)/said, 1, 4/math.Sqrt(2*n))
	near(t, "mean", sum/n, 20000, 4*said/math.Sqrt(n))
}

// TestEnergyAdds splits a time anywhere.
func TestEnergyAdds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trace := Trace{Counter: rapid.Bool().Draw(t, "counter")}
		at := 0.0
		for range rapid.IntRange(0, 30).Draw(t, "readings") {
			at += rapid.SampledFrom([]float64{0, 0.5, 1, 2, 40}).Draw(t, "step")
			trace.add(at, rapid.Float64Range(0, 500).Draw(t, "watts"), 0)
		}
		low := rapid.Float64Range(-5, 50).Draw(t, "low")
		middle := low + rapid.Float64Range(0, 50).Draw(t, "first")
		high := middle + rapid.Float64Range(0, 50).Draw(t, "second")
		all, err := trace.Energy(low, high)
		a, err2 := trace.Energy(low, middle)
		b, err3 := trace.Energy(middle, high)
		if err = errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		gaps := 0.0
		for _, g := range all.Gaps {
			gaps += g.To - g.From
		}
		if math.Abs(all.Joules-a.Joules-b.Joules) > 1e-6 || math.Abs(all.Seconds+gaps-(high-low)) > 1e-6 {
			t.Fatalf("%+v is not %+v and %+v", all, a, b)
		}
	})
}

const log = `timestamp, index, power.draw [W], utilization.gpu [%], temperature.gpu
2024/04/10 12:34:56.000, 0, 100.00 W, 7 %, 40
2024/04/10 12:34:56.004, 1, 50.00 W, 7 %, 30
2024/04/10 12:34:58.000, 0, 300.00 W, 7 %, 50
2024/04/10 12:34:57.000, 0, 200.00 W, 7 %, 45
2024/04/10 12:34:57.004, 1, [N/A], 7 %, [N/A]
2024/04/10 12:34:58.004, 1, 50.00 W, 7 %, [N/A]
`

// TestNvidiaSMI reads two GPUs, one line out of order and one without a reading.
func TestNvidiaSMI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(path, []byte(log+"2024/04/10 12:34:59.004, 1, 5"), 0o644); err != nil {
		t.Fatal(err)
	}
	traces, err := ReadCSV(path, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	a, b := traces[0], traces[1]
	start := float64(time.Date(2024, 4, 10, 12, 34, 56, 0, time.UTC).Unix())
	if len(traces) != 2 || a.Device != "gpu 0" || a.OutOfOrder != 1 || a.Missing != 0 || b.Missing != 2 || a.Celsius[1] != 45 || !math.IsNaN(b.Celsius[1]) {
		t.Errorf("got %+v", traces)
	}
	near(t, "gpu 0", energy(t, a, start, start+2).Joules, 400, 1e-6)
	near(t, "gpu 1", energy(t, b, start, start+3).Joules, 100, 1e-6)
	both := energy(t, a, start, start+2).Add(energy(t, b, start, start+2.004))
	near(t, "both", both.Joules, 500, 1e-6)
}

// TestNvidiaSMIForms reads the same power however it is written.
func TestNvidiaSMIForms(t *testing.T) {
	for name, text := range map[string]string{
		"units":          "timestamp, power.draw [W]\n2024/04/10 12:34:56.789, 35.20 W\n",
		"nounits":        "timestamp, power.draw [W]\n2024/04/10 12:34:56.789, 35.20\n",
		"plain":          "timestamp,power.draw\n2024/04/10 12:34:56.789,35.20\n",
		"instant":        "power.draw.instant [W], timestamp\n35.20 W, 2024/04/10 12:34:56.789\n",
		"average first":  "timestamp, power.draw.instant [W], power.draw.average [W]\n2024/04/10 12:34:56.789, 99.00 W, 35.20 W\n",
		"milliwatts":     "timestamp, power.draw [mW]\n2024/04/10 12:34:56.789, 35200\n",
		"milliwatt unit": "timestamp, power.draw\n2024/04/10 12:34:56.789, 35200 mW\n",
		"twice":          "timestamp, power.draw [W]\ntimestamp, power.draw [W]\n2024/04/10 12:34:56.789, 35.20 W\n",
		"Windows":        "\ufefftimestamp, power.draw [W]\r\n2024/04/10 12:34:56.789, 35.20 W\r\n",
		"zone":           "timestamp, power.draw [W]\n2024-04-10T14:34:56.789+02:00, 35.20 W\n",
	} {
		traces, err := parseSMI(strings.NewReader(text), time.UTC)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		near(t, name, traces[0].Watts[0], 35.2, 1e-9)
		near(t, name, traces[0].Time[0], 1712752496.789, 1e-5)
	}
}

func TestNvidiaSMIRefuses(t *testing.T) {
	const head = "timestamp, power.draw [W]\n"
	for text, want := range map[string]string{
		"":                                    "the file is empty",
		"2024/04/10 12:34:56.789, 35.20 W\n":  "without noheader",
		head:                                  "column names alone",
		head + "yesterday, 3 W\n":             "line 2: timestamp: expected one like",
		head + "2024/04/10 12:34:56, 3 J\n":   "expected watts, got \"3 J\"",
		head + "2024/04/10 12:34:56, -3 W\n":  "expected watts from 0",
		head + "2024/04/10 12:34:56, NaN W\n": "expected watts from 0",
		head + "2024/04/10 12:34:56, 2e6 W\n": "expected watts from 0",
		head + "GPU is lost\n2024/04/10 12:34:56, 3 W\n":                            "line 2: expected 2 fields",
		head + "2024/04/10 12:34:56, [Not Supported]\n":                             "no power in 1 rows: the driver gives [Not Supported]",
		head + "2024/04/10 12:34:56, 3 W\n2024/04/10 12:34:56, 4 W\n":               "tells GPUs apart",
		head + "timestamp, power.draw.instant [W]\n":                                "other column names",
		"timestamp, power.draw [hp]\n2024/04/10 12:34:56, 3\n":                      "expected W or mW",
		"timestamp, utilization.gpu [%], clocks.sm [MHz]\n2024/04/10, 3 %, 4 MHz\n": "timestamp and power.draw",
	} {
		if _, err := parseSMI(strings.NewReader(text), time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzNvidiaSMI(f *testing.F) {
	f.Add(log)
	f.Add("timestamp, uuid, power.draw.average [mW]\n2024/04/10 12:34:56.789, GPU-1, 35200\n2024/04/10 12:34:55, GPU-1, [N/A]\n")
	f.Fuzz(func(t *testing.T, text string) {
		traces, err := parseSMI(strings.NewReader(text), time.UTC)
		if err != nil {
			return
		}
		read := 0
		for _, trace := range traces {
			n := len(trace.Time)
			if read += n; n == 0 {
				continue
			}
			u, err := trace.Energy(trace.Time[0]-1, trace.Time[n-1]+1)
			if err != nil || math.IsNaN(u.Joules) || u.Joules < 0 || math.IsInf(u.StdErr, 0) {
				t.Fatalf("%+v: %+v, %v", trace, u, err)
			}
		}
		if read == 0 {
			t.Fatal("no readings, and no error")
		}
	})
}

// counters makes a tree as Linux shows it.
func counters(t *testing.T, files map[string]string) string {
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func zoneFiles(files map[string]string, folder, name, energy string) {
	files[folder+"/name"], files[folder+"/energy_uj"], files[folder+"/max_energy_range_uj"] = name+"\n", energy+"\n", "1000000\n"
}

// TestPowercap samples counters of which one wraps, and counts no joule twice.
func TestPowercap(t *testing.T) {
	files := map[string]string{"intel-rapl/enabled": "1"}
	zoneFiles(files, "intel-rapl:0", "package-0", "900000")
	zoneFiles(files, "intel-rapl:0:0", "core", "1")
	zoneFiles(files, "intel-rapl:0:1", "dram", "5")
	zoneFiles(files, "intel-rapl:1", "psys", "7")
	zoneFiles(files, "intel-rapl-mmio:0", "package-0", "900000")
	root := counters(t, files)
	p, err := OpenPowercap(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	counts, n := []int{900000, 950000, 50000, 150000}, 0
	traces, err := p.Sample(ctx, 10*time.Millisecond, func(time.Time, []float64) error {
		if n++; n >= len(counts) {
			cancel()
			return nil
		}
		path := filepath.Join(root, "intel-rapl:0/energy_uj")
		if err := os.WriteFile(path+"~", []byte(strconv.Itoa(counts[n])), 0o644); err != nil {
			return err
		}
		return os.Rename(path+"~", path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) != 2 || traces[0].Device != "package-0" || traces[1].Device != "package-0 dram" {
		t.Fatalf("got %+v", traces)
	}
	at := traces[0].Time
	near(t, "joules", energy(t, traces[0], at[0], at[len(at)-1]).Joules, 0.25, 1e-5)
	var text strings.Builder
	for i := range traces[0].Time {
		if err := WriteCSV(&text, i == 0, time.UnixMicro(int64(math.Round(at[i]*1e6))), p.Devices(), []float64{traces[0].Watts[i], traces[1].Watts[i]}); err != nil {
			t.Fatal(err)
		}
	}
	again, err := parseSMI(strings.NewReader(text.String()), time.Local)
	if err != nil || len(again) != 2 || again[1].Device != "package-0 dram" || !again[0].Counter {
		t.Fatalf("got %+v, %v", again, err)
	}
	near(t, "joules from the file", energy(t, again[0], at[0]-1, at[len(at)-1]+1).Joules, 0.25, 1e-4)
	near(t, "dram", energy(t, traces[1], at[0], at[len(at)-1]).Joules, 0, 0)
}

func TestPowercapRefuses(t *testing.T) {
	files := map[string]string{}
	zoneFiles(files, "intel-rapl:0", "package-0", "many")
	for root, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no powercap counters under ",
		counters(t, files):                 "expected a count of microjoules, got \"many",
	} {
		if _, err := OpenPowercap(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	zoneFiles(files, "intel-rapl:0", "package-0", "1")
	root := counters(t, files)
	p, err := OpenPowercap(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sample(context.Background(), 0, nil); err == nil {
		t.Error("no error for an interval of zero")
	}
	if os.Remove(filepath.Join(root, "intel-rapl:0/energy_uj")) != nil {
		t.Fatal("cannot remove the counter")
	}
	if traces, err := p.Sample(context.Background(), time.Second, nil); err == nil || len(traces) != 1 {
		t.Errorf("got %v, %v", traces, err)
	}
}

func TestPowercapNeedsRoot(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	files := map[string]string{}
	zoneFiles(files, "intel-rapl:0", "package-0", "1")
	root := counters(t, files)
	if err := os.Chmod(filepath.Join(root, "intel-rapl:0/energy_uj"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPowercap(root); err == nil || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("got %v, want that it needs root", err)
	}
}

// TestRecords reads the power of a run, also of steps that a resume took back.
func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r, err := run.Create(dir, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	record := func(at float64, step int64, kind string, watts float64) run.Record {
		return run.Record{Time: at, Step: step, Kind: kind, Values: map[string]float64{"power": watts}}
	}
	err = errors.Join(r.Append(record(1000, 1, "step", 100), record(1001, 2, "step", 100), record(1001, 2, "layer", 5), record(1002, 3, "step", math.NaN()),
		run.Record{Time: 1003, Step: 1, Kind: run.KindResume}, record(1003, 2, "step", 200)), r.Close())
	if err != nil {
		t.Fatal(err)
	}
	trace, err := ReadRecords(dir)
	if err != nil || trace.Missing != 1 {
		t.Fatalf("got %+v, %v", trace, err)
	}
	near(t, "joules", energy(t, trace, 1000, 1003).Joules, 100+300, 1e-9)
	if _, err := ReadRecords(t.TempDir()); !errors.Is(err, run.ErrNotRun) {
		t.Errorf("got %v, want not a run", err)
	}
}
