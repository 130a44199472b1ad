// A customer in Go: starts a cart and interrupts it, from the schemas alone.
//
//	go run . SCHEMAS WF_RUN_ID
//
// SCHEMAS is a folder that `halter schemas export` has written. Kafka is at KAFKA_BOOTSTRAP_SERVERS, else at
// localhost:9092; HALTER_PREFIX is the prefix of the installation, if it has one.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 30 * time.Second

// Avro's single-object encoding begins with this. The fingerprint of the schema follows, then the record.
var marker = []byte{0xC3, 0x01}

var prefix = os.Getenv("HALTER_PREFIX")

// schemas are by name to write with, and by fingerprint to read with: a record may have been written with the schema of
// an earlier release.
type schemas struct {
	byName        map[string]avro.Schema
	byFingerprint map[string]avro.Schema
}

// event has the fields that we want of any event of the log. avro skips the others.
type event struct {
	Seq   int64 `avro:"seq"`
	Cause struct {
		Topic     string `avro:"topic"`
		Partition int32  `avro:"partition"`
		Offset    int64  `avro:"offset"`
	} `avro:"cause"`
	Thread  any    `avro:"thread"` // some events have none
	Code    string `avro:"code"`
	Message string `avro:"message"`
}

func readSchemas(folder string) (schemas, error) {
	found := schemas{map[string]avro.Schema{}, map[string]avro.Schema{}}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".avsc" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var tree any
		if err := json.Unmarshal(text, &tree); err != nil {
			return err
		}
		// This library counts logical types to the canonical form, and Avro does not: the fingerprint would be another.
		dropLogicalTypes(tree)
		text, err = json.Marshal(tree)
		if err != nil {
			return err
		}
		schema, err := avro.ParseBytesWithCache(text, "", &avro.SchemaCache{})
		if err != nil {
			return err
		}
		fingerprint, err := schema.FingerprintUsing(avro.CRC64AvroLE)
		if err != nil {
			return err
		}
		found.byFingerprint[string(fingerprint)] = schema
		if filepath.Dir(path) == filepath.Clean(folder) { // `released` has those of earlier releases
			found.byName[schema.(avro.NamedSchema).Name()] = schema
		}
		return nil
	})
	return found, err
}

func dropLogicalTypes(tree any) {
	switch it := tree.(type) {
	case map[string]any:
		delete(it, "logicalType")
		for _, inner := range it {
			dropLogicalTypes(inner)
		}
	case []any:
		for _, inner := range it {
			dropLogicalTypes(inner)
		}
	}
}

// encode returns the value of a Kafka record. Fields that are left out take the default of the schema.
func (s schemas) encode(name string, fields map[string]any) ([]byte, error) {
	schema := s.byName[name]
	fingerprint, err := schema.FingerprintUsing(avro.CRC64AvroLE)
	if err != nil {
		return nil, err
	}
	body, err := avro.Marshal(schema, fields)
	return bytes.Join([][]byte{marker, fingerprint, body}, nil), err
}

func (s schemas) decode(value []byte) (event, error) {
	var found event
	if len(value) < 10 || !bytes.HasPrefix(value, marker) {
		return found, fmt.Errorf("not Avro's single-object encoding: %x", value)
	}
	schema, known := s.byFingerprint[string(value[2:10])]
	if !known {
		return found, fmt.Errorf("no schema with the fingerprint %x", value[2:10])
	}
	return found, avro.Unmarshal(schema, value[10:], &found)
}

func header(record *kgo.Record, name string) string {
	for _, it := range record.Headers {
		if it.Key == name {
			return string(it.Value)
		}
	}
	return ""
}

func place(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s[%d]@%d", topic, partition, offset)
}

func shop(ctx context.Context, known schemas, wfRunID string) error {
	bootstrap := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
	if bootstrap == "" {
		bootstrap = "localhost:9092"
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		// The default, and the one that Halter wants: murmur2 of the key, as in Java. Sarama's default is FNV-1a.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ConsumeTopics(prefix+"wf-events"),
		// The default reads what was taken back, too.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The log from a minute ago, so that nothing of what follows is missed.
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(time.Now().Add(-time.Minute).UnixMilli())),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	ours := map[string]string{} // place of a record that we sent -> its name
	produce := func(topic, name string, fields map[string]any) error {
		value, err := known.encode(name, fields)
		if err != nil {
			return err
		}
		sent, err := client.ProduceSync(ctx, &kgo.Record{Topic: prefix + topic, Key: []byte(wfRunID), Value: value}).First()
		if err != nil {
			return fmt.Errorf("cannot send %s to %s at %s: %w", name, prefix+topic, bootstrap, err)
		}
		ours[place(topic, sent.Partition, sent.Offset)] = name
		return nil
	}
	if err := produce("wf-commands", "RunWf", map[string]any{
		"wf_run_id":    wfRunID,
		"wf_spec_name": "cart",
		"variables":    map[string]any{"customer": "Ann", "card": "card-12345678"},
	}); err != nil {
		return err
	}
	if err := produce("external-events", "ExternalEvent", map[string]any{
		"wf_run_id":          wfRunID,
		"external_event_def": "address-changed",
		"external_event_id":  "move-1",
		"content":            "12 Harbour Street",
	}); err != nil {
		return err
	}

	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("%s did not go on: is `halter worker` running, and `cart` registered? %w", wfRunID, err)
		}
		for _, record := range fetches.Records() {
			if string(record.Key) != wfRunID {
				continue
			}
			found, err := known.decode(record.Value)
			if err != nil {
				return err
			}
			name := header(record, "event")
			what, isOurs := ours[place(found.Cause.Topic, found.Cause.Partition, found.Cause.Offset)]
			if isOurs {
				fmt.Printf("%3d %s by our %s\n", found.Seq, name, what)
			} else {
				fmt.Printf("%3d %s\n", found.Seq, name)
			}
			if isOurs && name == "Rejected" {
				return fmt.Errorf("%s: %s", found.Code, found.Message)
			}
			if isOurs && name == "Resume" && found.Thread == int64(0) {
				return nil
			}
		}
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run . SCHEMAS WF_RUN_ID")
	}
	known, err := readSchemas(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := shop(ctx, known, os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
