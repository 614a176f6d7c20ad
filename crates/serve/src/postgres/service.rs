//! The answers to a client's messages, in the simple and the extended form of the protocol.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::pgwire::api::copy::send_copy_out_response;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{
    ExtendedQueryHandler, SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query,
};
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Parse, ParseComplete, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use datafusion_postgres::pgwire::messages::response::{EmptyQueryResponse, NoticeResponse, TransactionStatus};
use datafusion_postgres::pgwire::messages::simplequery::Query;
use datafusion_postgres::pgwire::messages::startup::ParameterStatus;
use futures::{FutureExt as _, Sink, SinkExt as _};

use super::client::{Client, Named};
use super::encode::Encoding;
use super::errors::{code, error};
use super::plan::{Parameter, bind, logical, nulls, parameters, physical, values};
use super::run::{Planned, RunningStatement};
use super::text::{Piece, StatementKind, split};

/// Postgres's number for an unspecified type.
const UNKNOWN_OID: u32 = 705;

/// Serves one client.
#[derive(Debug)]
pub struct Service {
    client: Arc<Client>,
}

/// A statement that the extended protocol has prepared. It is planned again at each run, with the rows of that moment.
#[derive(Debug)]
pub struct Prepared {
    piece: Piece,
    kind: StatementKind,
    parameters: Vec<Parameter>,
    /// The columns announced to the client.
    schema: SchemaRef,
}

/// The values of a statement's parameters.
#[derive(Debug)]
enum ParameterValues {
    None,
    /// As listed by EXECUTE.
    Listed(String),
    /// As bound by the client.
    Bound(Vec<ScalarValue>),
}

impl Service {
    /// For one client.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Plans a statement on the workers' threads.
    async fn plan(
        &self,
        running: &RunningStatement,
        piece: Piece,
        given: ParameterValues,
        format: Format,
    ) -> PgWireResult<Planned> {
        let (shared, settings) = (Arc::clone(&self.client.shared), self.client.settings(Clone::clone));
        let ended = Arc::clone(running.ended());
        let planning = async move {
            let (context, tables) = shared.sessions.open(&settings).map_err(|error| super::errors::failed(&error))?;
            let plan = logical(&context, &piece).await?;
            let given = match given {
                ParameterValues::None => Vec::new(),
                ParameterValues::Listed(list) => values(&context, &list).await?,
                ParameterValues::Bound(values) => values,
            };
            let wanted = parameters(&plan, &[])?.len();
            if wanted > given.len() {
                let message = format!("the statement has {wanted} parameters, and {} values are given", given.len());
                return Err(error(code::PROTOCOL_VIOLATION, message));
            }
            let plan = if wanted > 0 { bind(plan, given)? } else { plan };
            physical(&context, &tables, &piece, plan, &format, &ended).await
        };
        running.work(planning.boxed()).await
    }

    /// What the extended protocol needs of a statement before it runs.
    async fn describe(&self, piece: &Piece, types: &[Option<Type>]) -> PgWireResult<(Vec<Parameter>, SchemaRef)> {
        let (shared, settings) = (Arc::clone(&self.client.shared), self.client.settings(Clone::clone));
        let (piece, types) = (piece.clone(), types.to_vec());
        let describing = async move {
            let (context, _) = shared.sessions.open(&settings).map_err(|error| super::errors::failed(&error))?;
            let plan = logical(&context, &piece).await?;
            let parameters = parameters(&plan, &types)?;
            let plan = if parameters.is_empty() { plan } else { bind(plan, nulls(&parameters)?)? };
            Ok((parameters, Arc::new(plan.schema().as_arrow().clone())))
        };
        self.client.begin().work(describing.boxed()).await
    }

    /// Rows of a statement.
    async fn query<C>(
        &self,
        sink: &mut C,
        piece: Piece,
        given: ParameterValues,
        format: &Format,
        announced: Option<&Schema>,
    ) -> PgWireResult<Response>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let running = self.client.begin();
        let explains = piece.sql.trim_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case("EXPLAIN"));
        let planned = self.plan(&running, piece, given, format.clone()).await?;
        if let Some(announced) = announced {
            let announced = Encoding::new(announced, format)?;
            if !same_columns(announced.fields(), planned.encoding.fields()) {
                let message = "cached plan must not change result type: a view that it reads has other columns now";
                return Err(error(code::RESULT_TYPES_CHANGED, message));
            }
        }
        for warning in &planned.warnings {
            let info = ErrorInfo::new("WARNING".to_owned(), "01000".to_owned(), warning.clone());
            sink.feed(PgWireBackendMessage::NoticeResponse(NoticeResponse::from(info))).await?;
        }
        let fields = Arc::clone(planned.encoding.fields());
        let mut response = QueryResponse::new(fields, running.rows(planned));
        if explains {
            response.set_command_tag("EXPLAIN");
        }
        Ok(Response::Query(response))
    }

    /// Answers a statement of either form.
    async fn answer<C>(
        &self,
        sink: &mut C,
        piece: &Piece,
        kind: &StatementKind,
        given: ParameterValues,
        format: &Format,
        announced: Option<&Schema>,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if sink.transaction_status() == TransactionStatus::Error
            && !matches!(kind, StatementKind::Commit | StatementKind::Rollback | StatementKind::Nothing("ROLLBACK"))
        {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(error(code::FAILED_TRANSACTION, message));
        }
        let done = |tag: &str| Ok(Response::Execution(Tag::new(tag)));
        match kind {
            StatementKind::Query => self.query(sink, piece.clone(), given, format, announced).await,
            StatementKind::Copy(copy) => {
                let piece = Piece::of(&copy.query);
                match self.query(sink, piece, given, &copy.format(), None).await? {
                    Response::Query(rows) => Ok(Response::CopyOut(copy.response(rows))),
                    other => Ok(other),
                }
            }
            StatementKind::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            StatementKind::Commit if sink.transaction_status() == TransactionStatus::Error => {
                Ok(Response::TransactionEnd(Tag::new("ROLLBACK")))
            }
            StatementKind::Commit => Ok(Response::TransactionEnd(Tag::new("COMMIT"))),
            StatementKind::Rollback => Ok(Response::TransactionEnd(Tag::new("ROLLBACK"))),
            StatementKind::Nothing(tag) => done(tag),
            StatementKind::Set(name, value) => {
                let tag = if value.is_some() { "SET" } else { "RESET" };
                let reported = self.client.change_settings(|settings| settings.set(name, value.as_deref()))?;
                if let Some((name, value)) = reported {
                    let status = ParameterStatus::new(name.to_owned(), value);
                    sink.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
                }
                done(tag)
            }
            StatementKind::Show(name) => self.show(name, format),
            StatementKind::Prepare(name, text) => {
                let mut pieces = split(text)?;
                let (Some(inner), true) = (pieces.pop(), pieces.is_empty()) else {
                    return Err(error(code::SYNTAX, "PREPARE takes one statement"));
                };
                if inner.kind()? != StatementKind::Query {
                    return Err(error(code::SYNTAX, "PREPARE takes a SELECT"));
                }
                self.describe(&inner, &[]).await?;
                self.client.prepare(name, text.clone())?;
                done("PREPARE")
            }
            StatementKind::Execute(name, list) => {
                let text = self.client.prepared(name)?;
                self.query(sink, Piece::of(&text), ParameterValues::Listed(list.clone()), format, None).await
            }
            StatementKind::Deallocate(name) => {
                self.client.deallocate(name.as_deref())?;
                done(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
            }
            StatementKind::DiscardAll => {
                self.client.deallocate(None)?;
                self.client.change_settings(|settings| settings.set("all", None))?;
                done("DISCARD ALL")
            }
        }
    }

    fn show(&self, name: &str, format: &Format) -> PgWireResult<Response> {
        let rows: Vec<Vec<String>> = if name.eq_ignore_ascii_case("all") {
            self.client
                .settings(super::settings::Settings::all)
                .into_iter()
                .map(|(name, value)| vec![name, value, String::new()])
                .collect()
        } else {
            vec![vec![self.client.settings(|settings| settings.show(name))?.1]]
        };
        let encoding = Encoding::new(&shown(name), format)?;
        let fields = Arc::clone(encoding.fields());
        let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
        let mut encoded = Vec::with_capacity(rows.len());
        for row in rows {
            for value in row {
                encoder.encode_field(&value)?;
            }
            encoded.push(Ok(encoder.take_row()));
        }
        let mut response = QueryResponse::new(fields, futures::stream::iter(encoded));
        response.set_command_tag("SHOW");
        Ok(Response::Query(response))
    }
}

/// The columns of SHOW.
fn shown(name: &str) -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    if name.eq_ignore_ascii_case("all") {
        Schema::new(vec![text("name"), text("setting"), text("description")])
    } else {
        Schema::new(vec![text(name)])
    }
}

fn same_columns(announced: &[FieldInfo], now: &[FieldInfo]) -> bool {
    let same = |(a, b): (&FieldInfo, &FieldInfo)| a.name() == b.name() && a.datatype().oid() == b.datatype().oid();
    announced.len() == now.len() && announced.iter().zip(now).all(same)
}

#[async_trait]
impl SimpleQueryHandler for Service {
    /// Each statement is answered before the next one is read.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        let pieces = split(&query.query)?;
        if pieces.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for piece in pieces {
            let kind = piece.kind()?;
            match self.answer(client, &piece, &kind, ParameterValues::None, &Format::UnifiedText, None).await? {
                Response::Query(rows) => send_query_response(client, rows, true).await?,
                Response::TransactionStart(tag) => {
                    send_execution_response(client, tag).await?;
                    let status = client.transaction_status().to_in_transaction_state();
                    client.set_transaction_status(status);
                }
                Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                    let status = client.transaction_status().to_idle_state();
                    client.set_transaction_status(status);
                }
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                Response::CopyOut(copy) => send_copy_out_response(client, copy).await?,
                _ => client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?,
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _client: &mut C, _query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // `on_query` above sends the answers itself.
        Ok(vec![Response::EmptyQuery])
    }
}

#[async_trait]
impl QueryParser for Service {
    type Statement = Arc<Prepared>;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut pieces = split(sql)?;
        let Some(piece) = pieces.pop() else { return Ok(None) };
        if !pieces.is_empty() {
            return Err(error(code::SYNTAX, "cannot insert multiple commands into a prepared statement"));
        }
        let kind = piece.kind()?;
        let (parameters, schema) = match &kind {
            StatementKind::Query => self.describe(&piece, types).await?,
            StatementKind::Show(name) => (Vec::new(), Arc::new(shown(name))),
            StatementKind::Execute(name, list) => {
                // Its columns depend on its values only where those decide a type.
                let text = self.client.prepared(name)?;
                let running = self.client.begin();
                let planned = self
                    .plan(&running, Piece::of(&text), ParameterValues::Listed(list.clone()), Format::UnifiedText)
                    .await?;
                (Vec::new(), planned.plan.schema())
            }
            _ => (Vec::new(), Arc::new(Schema::empty())),
        };
        Ok(Some(Arc::new(Prepared { piece, kind, parameters, schema })))
    }

    fn get_parameter_types(&self, prepared: &Self::Statement) -> PgWireResult<Vec<Type>> {
        Ok(prepared.parameters.iter().map(|parameter| parameter.wire.clone()).collect())
    }

    fn get_result_schema(&self, prepared: &Self::Statement, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let encoding = Encoding::new(&prepared.schema, format.unwrap_or(&Format::UnifiedText))?;
        Ok(encoding.fields().to_vec())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Service {
    type Statement = Arc<Prepared>;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self::QueryParser> {
        Arc::new(Self { client: Arc::clone(&self.client) })
    }

    async fn on_parse<C>(&self, client: &mut C, mut message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        self.client.keep(Named::Statement, &name)?;
        for oid in message.type_oids.iter_mut().filter(|oid| **oid == UNKNOWN_OID) {
            *oid = 0;
        }
        let parsed = StoredStatement::parse(client, &message, self.query_parser()).await;
        if parsed.is_err() {
            self.client.forget(Named::Statement, &name);
        }
        match parsed? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let (formats, given) = (message.parameter_format_codes.len(), message.parameters.len());
        if formats > 1 && formats != given {
            let message = format!("bind message has {formats} parameter formats but {given} parameters");
            return Err(error(code::PROTOCOL_VIOLATION, message));
        }
        let found = client.portal_store().get_statement(statement);
        let wanted = match &found {
            None => return Err(PgWireError::StatementNotFound(statement.to_owned())),
            Some(Entry::Empty) => 0,
            Some(Entry::Value(stored)) => stored.statement.parameters.len(),
        };
        if given != wanted {
            let message = format!("bind message supplies {given} parameters, but the statement requires {wanted}");
            return Err(error(code::PROTOCOL_VIOLATION, message));
        }
        self.client.keep(Named::Portal, portal)?;
        match found {
            Some(Entry::Value(stored)) => {
                client.portal_store().put_portal(Arc::new(Portal::try_new(&message, stored)?));
            }
            _ => client.portal_store().put_empty_portal(portal),
        }
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                client.portal_store().rm_statement(name);
                self.client.forget(Named::Statement, name);
            }
            TARGET_TYPE_BYTE_PORTAL => {
                client.portal_store().rm_portal(name);
                self.client.forget(Named::Portal, name);
            }
            _ => {}
        }
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = Arc::clone(&portal.statement.statement);
        let given = if prepared.parameters.is_empty() {
            ParameterValues::None
        } else {
            ParameterValues::Bound(bound(portal, &prepared)?)
        };
        let (piece, kind, announced) = (&prepared.piece, &prepared.kind, Some(&*prepared.schema));
        self.answer(client, piece, kind, given, &portal.result_column_format, announced).await
    }
}

/// The values that a client has bound.
fn bound(portal: &Portal<Arc<Prepared>>, prepared: &Prepared) -> PgWireResult<Vec<ScalarValue>> {
    let inferred: Vec<Option<&DataType>> =
        prepared.parameters.iter().map(|parameter| parameter.inferred.as_ref()).collect();
    let wire: Vec<Option<&Type>> = prepared.parameters.iter().map(|parameter| Some(&parameter.wire)).collect();
    match deserialize_parameters_with_server_types(portal, &inferred, &wire)? {
        ParamValues::List(values) => Ok(values.into_iter().map(|value| wide_enough(value.value)).collect()),
        ParamValues::Map(_) => Err(error(code::INVALID_PARAMETER, "parameters are numbered")),
    }
}

/// A decimal's precision is counted without the leading zeros after its point, and that of zero is 0.
fn wide_enough(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Decimal128(None, _, _) => ScalarValue::Decimal128(None, 38, 10),
        ScalarValue::Decimal128(number, precision, scale) => {
            ScalarValue::Decimal128(number, precision.max(scale.unsigned_abs()), scale)
        }
        other => other,
    }
}
