// A backend in another language: one GET, one produce, then wait for the result.
//
//   npm ci
//   KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 REDIS_URL=redis://127.0.0.1:6379 \
//     node send.js CP1 RequestStartTransaction '{"idToken": {"idToken": "ABC", "type": "Central"}, "evseId": 1}'
//
// Prints the final result as JSON. Exit code 0: the charge point accepted; 1: any other outcome.
"use strict";

const { randomUUID } = require("node:crypto");
const { Kafka, Partitioners, logLevel } = require("kafkajs");
const { createClient } = require("redis");

const COMMANDS = "commands-down";
const RESULTS = "command-results";
const DEADLINE_MS = 60_000; // the command expires if it cannot be written to the charge point by then
const AFTERMATH_MS = 120_000; // what may follow a write: the charge point's time to answer, the late window, a takeover

const kafka = new Kafka({
  clientId: "example-backend",
  brokers: (process.env.KAFKA_BOOTSTRAP_SERVERS || "127.0.0.1:9092").split(","),
  logLevel: logLevel.ERROR,
});

// Every process must see every result, so it has a group of its own, and goes to the ends as they were before its first
// command: a result can be faster than a consumer that is still looking for its partitions. A backend sends many commands
// with one reader.
async function readResults(onResult) {
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(RESULTS);
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `example-backend-${randomUUID()}` });
  await consumer.connect();
  await consumer.subscribe({ topics: [RESULTS] });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => onResult(JSON.parse(message.value.toString())),
  });
  for (const { partition, high } of ends) consumer.seek({ topic: RESULTS, partition, offset: high });
  return consumer;
}

// The mailbox that reaches the charge point now. undefined (it is away): the partitioner chooses murmur2(key) % N, which
// every Kafka client has; the command then waits for the charge point until its deadline.
async function mailbox(redis, station) {
  const entry = await redis.get(`conn:${station}`);
  return entry === null ? undefined : JSON.parse(entry).partition;
}

async function main([station, type, payload = "{}"]) {
  if (type === undefined) throw new Error("usage: node send.js STATION TYPE [JSON]");
  const command = {
    id: randomUUID(), // the same id again only for the same command, when Kafka did not say whether it has it
    chargePointId: station,
    type,
    payload: JSON.parse(payload),
    expiresAt: new Date(Date.now() + DEADLINE_MS).toISOString(),
  };

  const redis = createClient({ url: process.env.REDIS_URL || "redis://127.0.0.1:6379" });
  redis.on("error", (error) => console.error(`redis: ${error.message}`));
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await Promise.all([redis.connect(), producer.connect()]);

  let timer;
  let consumer;
  try {
    let arrived;
    const final = new Promise((resolve, reject) => {
      arrived = resolve;
      timer = setTimeout(() => reject(new Error("no result; ask for the status of the command")), DEADLINE_MS + AFTERMATH_MS);
    });
    consumer = await readResults((result) => {
      if (result.commandId !== command.id) return;
      if (result.final) arrived(result);
      else console.error("the charge point is slow; a late answer still counts");
    });
    await producer.send({
      topic: COMMANDS,
      acks: -1,
      messages: [{ key: station, value: JSON.stringify(command), partition: await mailbox(redis, station) }],
    });
    const result = await final;
    console.log(JSON.stringify(result));
    return result.outcome === "Accepted" ? 0 : 1;
  } finally {
    clearTimeout(timer);
    await Promise.all([consumer?.disconnect(), producer.disconnect(), redis.close()]);
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message);
    process.exit(2);
  },
);
