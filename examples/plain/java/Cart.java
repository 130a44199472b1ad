import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.avro.Schema;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A customer in Java: starts a cart and interrupts it, from the schemas alone.
 *
 * <p>{@code Cart SCHEMAS WF_RUN_ID}: SCHEMAS is a folder that {@code halter schemas export} has written. Kafka is at
 * KAFKA_BOOTSTRAP_SERVERS, else at localhost:9092; HALTER_PREFIX is the prefix of the installation, if it has one.
 */
public final class Cart {
  private static final Map<String, String> ENVIRONMENT = System.getenv();
  private static final String BOOTSTRAP = ENVIRONMENT.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092");
  private static final String PREFIX = ENVIRONMENT.getOrDefault("HALTER_PREFIX", "");
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  /** By name to write with. */
  private final Map<String, Schema> schemas = new HashMap<>();

  /** By fingerprint to read with: a record may have been written with the schema of an earlier release. */
  private final Map<Long, BinaryMessageDecoder<GenericRecord>> decoders = new HashMap<>();

  private Cart(Path folder) throws IOException {
    List<Path> files;
    try (var found = Files.walk(folder)) {
      files = found.filter(it -> it.toString().endsWith(".avsc")).toList();
    }
    for (Path file : files) {
      Schema schema = new Schema.Parser().parse(Files.readString(file));
      decoders.put(
          SchemaNormalization.parsingFingerprint64(schema), new BinaryMessageDecoder<>(GenericData.get(), schema));
      if (file.getParent().equals(folder)) { // `released` has those of earlier releases
        schemas.put(schema.getName(), schema);
      }
    }
  }

  /** Returns the value of a Kafka record, in Avro's single-object encoding, which Avro's own encoder writes. */
  private byte[] encode(GenericRecord written) throws IOException {
    ByteBuffer bytes = new BinaryMessageEncoder<GenericRecord>(GenericData.get(), written.getSchema()).encode(written);
    byte[] value = new byte[bytes.remaining()];
    bytes.get(value);
    return value;
  }

  private GenericRecord decode(byte[] value) throws IOException {
    long fingerprint = ByteBuffer.wrap(value).order(ByteOrder.LITTLE_ENDIAN).getLong(2);
    return decoders.get(fingerprint).decode(value);
  }

  /** Fields that are left out take the default of the schema. */
  private GenericRecordBuilder record(String name) {
    return new GenericRecordBuilder(schemas.get(name));
  }

  private void shop(String wfRunId) throws Exception {
    // The default partitioner is the one that Halter wants: murmur2 of the key. So are acks=all and idempotence.
    Map<String, Object> toSend = Map.of("bootstrap.servers", BOOTSTRAP);
    // The default isolation level is not.
    Map<String, Object> toRead =
        Map.of("bootstrap.servers", BOOTSTRAP, "isolation.level", "read_committed", "enable.auto.commit", "false");
    try (var producer = new KafkaProducer<>(toSend, new StringSerializer(), new ByteArraySerializer());
        var consumer = new KafkaConsumer<>(toRead, new StringDeserializer(), new ByteArrayDeserializer())) {
      fromAMomentAgo(consumer);

      GenericRecord cart =
          record("RunWf")
              .set("wf_run_id", wfRunId)
              .set("wf_spec_name", "cart")
              .set("variables", Map.of("customer", "Ann", "card", "card-12345678"))
              .build();
      Map<String, String> ours = new HashMap<>();
      RecordMetadata started = producer.send(new ProducerRecord<>(PREFIX + "wf-commands", wfRunId, encode(cart))).get();
      ours.put(place(started.topic(), started.partition(), started.offset()), "RunWf");
      GenericRecord moved =
          record("ExternalEvent")
              .set("wf_run_id", wfRunId)
              .set("external_event_def", "address-changed")
              .set("external_event_id", "move-1")
              .set("content", "12 Harbour Street")
              .build();
      RecordMetadata posted =
          producer.send(new ProducerRecord<>(PREFIX + "external-events", wfRunId, encode(moved))).get();
      ours.put(place(posted.topic(), posted.partition(), posted.offset()), "ExternalEvent");

      long deadline = System.nanoTime() + PATIENCE.toNanos();
      while (System.nanoTime() < deadline) {
        for (var polled : consumer.poll(Duration.ofSeconds(1))) {
          if (wfRunId.equals(polled.key()) && goesOn(polled, ours)) {
            return;
          }
        }
      }
    }
    throw new IllegalStateException(
        wfRunId + " did not go on: is `halter worker` running, and `cart` registered?");
  }

  /** Reads the log from a minute ago, so that nothing of what follows is missed. */
  private static void fromAMomentAgo(KafkaConsumer<String, byte[]> consumer) {
    String log = PREFIX + "wf-events";
    Map<TopicPartition, Long> since = new HashMap<>();
    for (var partition : consumer.partitionsFor(log)) {
      since.put(new TopicPartition(log, partition.partition()), System.currentTimeMillis() - 60_000);
    }
    consumer.assign(since.keySet());
    var ends = consumer.endOffsets(since.keySet());
    consumer
        .offsetsForTimes(since)
        .forEach((where, found) -> consumer.seek(where, found == null ? ends.get(where) : found.offset()));
  }

  private static String place(Object topic, Object partition, Object offset) {
    return topic + "[" + partition + "]@" + offset;
  }

  /** Prints an event of our cart, and returns true if the cart goes on with it. {@code ours}: place to record sent. */
  private boolean goesOn(ConsumerRecord<String, byte[]> polled, Map<String, String> ours) throws IOException {
    GenericRecord event = decode(polled.value());
    String name = event.getSchema().getName(); // also in the header `event`
    GenericRecord cause = (GenericRecord) event.get("cause");
    String what = ours.get(place(PREFIX + cause.get("topic"), cause.get("partition"), cause.get("offset")));
    System.out.printf("%3d %s%s%n", event.get("seq"), name, what == null ? "" : " by our " + what);
    if (what != null && name.equals("Rejected")) {
      throw new IllegalStateException(event.get("code") + ": " + event.get("message"));
    }
    return what != null && name.equals("Resume") && event.get("thread").equals(0L);
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2) {
      System.err.println("usage: Cart SCHEMAS WF_RUN_ID");
      System.exit(2);
    }
    try {
      new Cart(Path.of(arguments[0])).shop(arguments[1]);
    } catch (KafkaException | ExecutionException | IllegalStateException error) {
      System.err.println(BOOTSTRAP + ": " + error.getMessage());
      System.exit(1);
    }
  }
}
