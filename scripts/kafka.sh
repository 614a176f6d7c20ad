#!/usr/bin/env bash
# One Apache Kafka node for development: a KRaft broker and controller in one process, on 127.0.0.1 only.
#
#   scripts/kafka.sh start [PORT]     fetch it (once, by Maven), start it, wait until it answers     PORT: 9092
#   scripts/kafka.sh status [PORT]    print whether it answers; exit 0 if so
#   scripts/kafka.sh stop [PORT]      stop it and wait; its topics stay in .kafka/
#   scripts/kafka.sh tool CLASS …     a tool of Kafka's own, such as
#       scripts/kafka.sh tool TopicCommand --bootstrap-server 127.0.0.1:9092 --describe
#       scripts/kafka.sh tool consumer.ConsoleConsumer --bootstrap-server 127.0.0.1:9092 --topic users --from-beginning
#       scripts/kafka.sh tool consumer.group.ConsumerGroupCommand --bootstrap-server 127.0.0.1:9092 --all-groups --describe
#
# Everything lives in .kafka/ of the repository: delete that folder to start over. Needs Java 17 or later and Maven.
set -euo pipefail

readonly VERSION=4.3.1
readonly LOG4J_VERSION=2.25.4
readonly START_SECONDS=90 # a cold JVM on a busy machine; normally 5
readonly STOP_SECONDS=60

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly home=$root/.kafka
readonly lib=$home/lib-$VERSION

die() {
  echo "kafka.sh: $*" >&2
  exit 1
}

need_java() {
  command -v java >/dev/null || die "java is missing: Kafka $VERSION needs Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p;T;q')
  [[ ${major:-0} -ge 17 ]] || die "java is too old (version ${major:-unknown}): Kafka $VERSION needs Java 17 or later"
}

# Kafka's jars, from Maven Central. The folder appears under its name only when it is complete.
fetch() {
  [[ -d $lib ]] && return
  command -v mvn >/dev/null || die "mvn is missing: it fetches Kafka $VERSION from Maven Central (Debian: apt-get install maven)"
  echo "fetching Apache Kafka $VERSION …" >&2
  mkdir -p "$home"
  cat >"$home/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>kafka-node</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>$VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
  local partial=$lib.partial
  rm -rf "$partial"
  mvn -q -B -f "$home/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$partial" >&2 ||
    die "Maven could not fetch Kafka $VERSION (its output is above)"
  mv "$partial" "$lib"
}

log4j_config() {
  cat >"$home/log4j2.properties" <<'LOG'
status = error
rootLogger.level = ${sys:kafka.log.level:-warn}
rootLogger.appenderRef.file.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c{1})%n
LOG
}

# Runs a class of Kafka quietly, in a small JVM that starts fast.
run_class() {
  log4j_config
  java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dkafka.log.level=error \
    -Dlog4j2.configurationFile="$home/log4j2.properties" -cp "$lib/*" "$@"
}

valid_port() {
  [[ $1 =~ ^[0-9]+$ && $1 -ge 1024 && $1 -le 65534 ]] || die "'$1' is no port: use 1024 to 65534"
}

# The process of this node, if it runs. A pid file may outlive its process, and its number may go to another one, so the
# command line must name this node's own configuration.
running_pid() {
  local pid
  [[ -f $node/pid ]] || return 1
  pid=$(<"$node/pid")
  [[ $pid =~ ^[0-9]+$ ]] && ps -ww -o args= -p "$pid" 2>/dev/null | grep -qF -- "$node/server.properties" && echo "$pid"
}

port_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Whether the broker answers a request, not merely accepts a connection.
answers() {
  port_taken "$port" &&
    run_class org.apache.kafka.tools.BrokerApiVersionsCommand --bootstrap-server "127.0.0.1:$port" >/dev/null 2>&1
}

configure() {
  mkdir -p "$node/data"
  cat >"$node/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:$controller_port
log.dirs=$node/data

# One node: one copy of everything.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# As in Kafka's own defaults a first record creates its topic; four partitions, so that several processes can share them.
auto.create.topics.enable=true
num.partitions=4
# A group of one machine need not wait for others to start.
group.initial.rebalance.delay.ms=0
# Seconds, not minutes, until compaction shows.
log.cleaner.backoff.ms=1000
log.retention.check.interval.ms=5000
PROPERTIES
  if [[ ! -f $node/data/meta.properties ]]; then
    local id
    id=$(run_class kafka.tools.StorageTool random-uuid)
    run_class kafka.tools.StorageTool format --standalone -t "$id" -c "$node/server.properties" >"$node/format.log" 2>&1 ||
      die "could not prepare $node/data: $(tail -n 3 "$node/format.log")"
  fi
}

start() {
  local pid
  need_java
  if pid=$(running_pid); then
    await_answer "$pid"
    echo "Kafka $VERSION already runs on 127.0.0.1:$port (pid $pid)"
    return
  fi
  port_taken "$port" && die "something else listens on port $port: try another, as in: scripts/kafka.sh start $((port + 10))"
  port_taken "$controller_port" && die "something else listens on port $controller_port, which the controller of a node on $port uses"
  fetch
  configure
  log4j_config
  # A session of its own, so that neither a Ctrl-C in this terminal nor its closing reaches it.
  "$(command -v setsid || command -v nohup)" java -Xms256m -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=50 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$home/log4j2.properties" -cp "$lib/*" kafka.Kafka "$node/server.properties" \
    </dev/null >"$node/server.log" 2>&1 &
  pid=$!
  echo "$pid" >"$node/pid"
  await_answer "$pid"
  echo "Kafka $VERSION answers on 127.0.0.1:$port (pid $pid, log in ${node#"$root"/}/server.log)"
}

await_answer() {
  local deadline=$((SECONDS + START_SECONDS))
  until answers; do
    kill -0 "$1" 2>/dev/null || die "Kafka ended while starting, its last lines: $(tail -n 5 "$node/server.log")"
    ((SECONDS < deadline)) || die "Kafka does not answer on 127.0.0.1:$port after $START_SECONDS s: see $node/server.log"
    sleep 0.3
  done
}

stop() {
  local pid deadline=$((SECONDS + STOP_SECONDS))
  if ! pid=$(running_pid); then
    rm -f "$node/pid"
    echo "no Kafka of this repository runs on 127.0.0.1:$port"
    return
  fi
  kill "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    ((SECONDS < deadline)) || die "Kafka (pid $pid) has not stopped after $STOP_SECONDS s: see $node/server.log"
    sleep 0.2
  done
  rm -f "$node/pid"
  echo "Kafka on 127.0.0.1:$port has stopped"
}

status() {
  local pid
  if ! pid=$(running_pid); then
    echo "no Kafka of this repository runs on 127.0.0.1:$port"
    return 1
  fi
  need_java
  answers || {
    echo "Kafka (pid $pid) runs but does not answer on 127.0.0.1:$port"
    return 1
  }
  echo "Kafka $VERSION answers on 127.0.0.1:$port (pid $pid)"
}

case ${1:-} in
  start | stop | status)
    port=${2:-9092}
    valid_port "$port"
    controller_port=$((port + 1))
    node=$home/$port
    "$1"
    ;;
  tool)
    [[ $# -ge 2 ]] || die "name a class of org.apache.kafka.tools, such as TopicCommand"
    need_java
    fetch
    run_class "org.apache.kafka.tools.$2" "${@:3}"
    ;;
  *)
    sed -n '2,/^set -/{/^#/{s/^# \{0,1\}//;p}}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
