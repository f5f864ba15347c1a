//! The server's side of the protocol.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse,
    Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use shared::http::Identity;
use shared::ports::Clock;
use shared::usecases::sales::{Store, Stripe};

use crate::tools::Tool;
use crate::{App, PROTOCOL_VERSIONS, prompts};

/// What a client is told when it connects.
const INSTRUCTIONS: &str = "A shop that sells courses. The first chapters of a course are free; the \
    others open once the learner has paid. Call list_courses for the ids, check_access before you \
    teach a chapter, and get_upgrade_url when access is denied. The prompt tutor explains how to \
    teach with a paywall.";

/// One caller's messages.
pub(crate) struct Conversation<C, T, S> {
    app: Arc<App<C, T, S>>,
    identity: Arc<Identity>,
}

impl<C, T, S> Conversation<C, T, S> {
    pub(crate) fn new(app: Arc<App<C, T, S>>, identity: Identity) -> Self {
        Self { app, identity: Arc::new(identity) }
    }
}

impl<C, T, S> Clone for Conversation<C, T, S> {
    fn clone(&self) -> Self {
        Self { app: Arc::clone(&self.app), identity: Arc::clone(&self.identity) }
    }
}

impl<C, T, S> ServerHandler for Conversation<C, T, S>
where
    C: Clock + Send + Sync + 'static,
    T: Store + Send + Sync + 'static,
    S: Stripe + Send + Sync + 'static,
{
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts();
        let mut info = ServerConfig::new(capabilities.build());
        info.server_info = Implementation::new("coursegate", env!("CARGO_PKG_VERSION"));
        info.server_info.title = Some("Coursegate".to_owned());
        info.instructions = Some(INSTRUCTIONS.to_owned());
        info
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&PROTOCOL_VERSIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = Tool::ALL.map(|tool| tool.definition(&self.identity));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = Tool::named(&request.name).ok_or_else(|| {
            let names = Tool::ALL.map(Tool::name).join(", ");
            ErrorData::invalid_params(format!("There is no such tool. There are {names}."), None)
        })?;
        let arguments = request.arguments.unwrap_or_default();
        Ok(self.app.call(tool, &self.identity, arguments).await.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(self.app.list_resources().await?))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = vec![crate::resources::chapter_template()];
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.app.read_resource(&self.identity, &request.uri).await.map(Into::into)
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(vec![prompts::tutor()]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.app.get_prompt(&request).await.map(Into::into)
    }
}
