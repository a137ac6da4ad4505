package run

import (
	"database/sql"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBucketsOfSums compares buckets, which are made of sums where they can be,
// with those of all points.
func TestBucketsOfSums(t *testing.T) {
	r := create(t)
	rng := rand.New(rand.NewPCG(1, 2))
	step, records := int64(-3000), []Record{}
	for range 6 * chunkPoints {
		step += 1 + rng.Int64N(4)
		x := rng.NormFloat64()
		if rng.IntN(50) == 0 {
			x = math.Inf(-1)
		}
		values := map[string]float64{"loss": x}
		if rng.IntN(1000) == 0 {
			step += 5000 // a gap longer than a chunk
		}
		records = append(records, Record{Time: 1, Step: step, Kind: KindStep, Values: values},
			Record{Time: 1, Step: step / 2 * 2, Kind: KindLayer, Layer: "0", Values: values}) // two of one step
	}
	must(t, r.Append(records...))
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	for range 300 {
		layer := []string{"", "0"}[rng.IntN(2)]
		from := rng.Int64N(step+6000) - 4000
		to, n := from+rng.Int64N(step+4000), 1+rng.IntN(40)
		points, err := index.Range(layer, "loss", from, to)
		must(t, err)
		want := []Bucket(nil)
		if len(points) > 0 {
			b := buckets{first: points[0].Step, width: uint64(points[len(points)-1].Step-points[0].Step)/uint64(n) + 1}
			for _, p := range points {
				b.at(p.Step).add(p)
			}
			want = b.finish()
		}
		got, err := index.Buckets(layer, "loss", from, to, n)
		must(t, err)
		if len(got) != len(want) {
			t.Fatalf("%d to %d in %d: %d buckets, not %d", from, to, n, len(got), len(want))
		}
		for i := range want {
			if math.Abs(got[i].Mean-want[i].Mean) > 1e-9 {
				t.Errorf("mean %v, not %v", got[i].Mean, want[i].Mean)
			}
			want[i].Mean = got[i].Mean
		}
		same(t, got, want)
	}
}

func TestEvents(t *testing.T) {
	r := create(t)
	finding := Record{Time: 2, Step: 3, Kind: "finding", Layer: "0", Text: "too hot"}
	must(t, r.Append(step1(1), finding, Record{Time: 2, Step: 9, Kind: "note", Text: "taken back"}, Record{Time: 3, Step: 5, Kind: KindResume}))
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	got, err := index.Events()
	must(t, err)
	same(t, got, []Record{finding, {Time: 3, Step: 5, Kind: KindResume}})
}

// TestOrder lists layers as they come in the network.
func TestOrder(t *testing.T) {
	r := create(t)
	layer := func(step int64, name string) Record {
		return Record{Step: step, Kind: KindLayer, Layer: name, Values: map[string]float64{"virial": 1}}
	}
	must(t, r.Append(layer(1, "h.2"), layer(1, "h.10"), layer(1, "head"), layer(2, "h.2"), layer(2, "embedding"), layer(2, "h.10")))
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	list, err := index.List()
	must(t, err)
	same(t, list, []Series{{"h.2", "virial"}, {"h.10", "virial"}, {"head", "virial"}, {"embedding", "virial"}})
}

// answers is all that an index knows.
func answers(t interface{ Fatal(...any) }, dir string) map[Series][]Point {
	index, _, err := OpenIndex(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	list, err := index.List()
	if err != nil {
		t.Fatal(err)
	}
	all := map[Series][]Point{}
	for _, s := range list {
		points, err := index.Series(s.Layer, s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if len(points) > 0 {
			all[s] = points
		}
	}
	return all
}

// TestIndexFollows appends, goes back, tears and looks, in any order: what an
// index knows that grew with the run is what one made anew knows, and what the
// records say.
func TestIndexFollows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		parent, err := os.MkdirTemp(t.TempDir(), "")
		must(t, err)
		r, err := Create(filepath.Join(parent, "run"), nil)
		must(t, err)
		defer func() { r.Close() }()
		step := int64(0)
		for range rapid.IntRange(1, 12).Draw(rt, "actions") {
			switch rapid.SampledFrom([]string{"append", "append", "append", "resume", "tear", "look"}).Draw(rt, "action") {
			case "append":
				for range rapid.IntRange(1, 2*chunkPoints).Draw(rt, "records") {
					step++
					must(t, r.Append(Record{Time: 1, Step: step, Kind: KindStep, Values: map[string]float64{"loss": float64(step), "x": math.NaN()}},
						Record{Time: 1, Step: step / 2, Kind: KindLayer, Layer: "0", Values: map[string]float64{"virial": -float64(step)}}))
				}
			case "resume":
				step = rapid.Int64Range(0, step).Draw(rt, "step")
				must(t, r.Append(Record{Time: 1, Step: step, Kind: KindResume}))
			case "tear":
				_, err := r.events.WriteString(`{"v":1,"t":`)
				must(t, err)
				answers(t, r.Dir)
				must(t, r.Close())
				if r, _, err = Open(r.Dir); err != nil {
					t.Fatal(err)
				}
			case "look":
				answers(t, r.Dir)
			}
		}
		grown := answers(t, r.Dir)
		must(t, os.Remove(filepath.Join(r.Dir, indexFile)))
		anew := answers(t, r.Dir)
		same(t, grown, anew)
		want := map[Series][]Point{}
		for record, err := range Records(r.Dir) {
			must(t, err)
			for name, x := range record.Values {
				s := Series{record.Layer, name}
				want[s] = append(want[s], Point{record.Step, x})
			}
		}
		for s := range want {
			want[s] = byStep(want[s])
		}
		same(t, anew, want)
	})
}

func TestIndexRebuilt(t *testing.T) {
	r := create(t)
	must(t, r.Append(step1(1), step1(2)))
	want := answers(t, r.Dir)
	path := filepath.Join(r.Dir, indexFile)
	for name, spoil := range map[string]func(){
		"garbage": func() {
			must(t, os.WriteFile(path, []byte("this is no database, but it is long enough to look at"), 0o644))
		},
		"empty":     func() { must(t, os.WriteFile(path, nil, 0o644)) },
		"truncated": func() { must(t, os.Truncate(path, 5000)) },
		"version": func() {
			db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(t.TempDir(), "old.sqlite")))
			must(t, err)
			_, err = db.Exec(`CREATE TABLE meta (stamp TEXT); CREATE TABLE series (key INTEGER)`)
			must(t, err)
			var file string
			must(t, db.QueryRow(`SELECT file FROM pragma_database_list`).Scan(&file))
			must(t, db.Close())
			must(t, os.Rename(file, path))
		},
	} {
		spoil()
		if got := answers(t, r.Dir); len(got) != len(want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Other records of the same length.
	events := filepath.Join(r.Dir, eventsFile)
	text, err := os.ReadFile(events)
	must(t, err)
	answers(t, r.Dir)
	text[len(text)-3]++ // the last digit of the last loss
	must(t, os.WriteFile(events, text, 0o644))
	must(t, os.Chtimes(events, time.Time{}, time.Now().Add(time.Second)))
	same(t, answers(t, r.Dir)[Series{"", "loss"}], []Point{{1, 1}, {2, 0.6}})
	// A folder that cannot hold an index is read all the same.
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	same(t, len(answers(t, r.Dir)), len(want))
}

func TestBuckets(t *testing.T) {
	r := create(t)
	for step := int64(10); step < 30; step++ {
		x := float64(step)
		if step == 12 {
			x = math.Inf(1)
		}
		must(t, r.Append(Record{Time: 1, Step: step, Kind: KindStep, Values: map[string]float64{"loss": x}}))
	}
	must(t, r.Append(Record{Time: 1, Step: 49, Kind: KindStep, Values: map[string]float64{"loss": math.NaN()}}))
	index, _, err := OpenIndex(r.Dir)
	must(t, err)
	defer index.Close()
	got, err := index.Buckets("", "loss", 0, 1000, 4)
	must(t, err)
	nan := math.NaN()
	same(t, got, []Bucket{
		{First: 10, Last: 19, Points: 9, Min: 10, Mean: got[0].Mean, Max: 19, NotFinite: 1},
		{First: 20, Last: 29, Points: 10, Min: 20, Mean: got[1].Mean, Max: 29},
		{First: 49, Last: 49, Min: nan, Mean: nan, Max: nan, NotFinite: 1},
	})
	if math.Abs(got[0].Mean-133.0/9) > 1e-12 || math.Abs(got[1].Mean-24.5) > 1e-12 {
		t.Errorf("means %v and %v", got[0].Mean, got[1].Mean)
	}
	few, err := index.Range("", "loss", 20, 22)
	must(t, err)
	same(t, few, []Point{{20, 20}, {21, 21}, {22, 22}})
	none, err := index.Buckets("0", "loss", 0, 1000, 4)
	must(t, err)
	same(t, len(none), 0)
}
