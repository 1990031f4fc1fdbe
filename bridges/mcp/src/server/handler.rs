//! The methods of rmcp's server. Calls and lists of tools are followed; all others are only passed
//! on.

use super::Metered;
use crate::hand_on::handed_on;
use rmcp::model::*;
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use std::borrow::Cow;
use std::future::Future;

type Answer<T> = Result<T, ErrorData>;
type Page = Option<PaginatedRequestParams>;
type Request = RequestContext<RoleServer>;
type Notification = NotificationContext<RoleServer>;

#[allow(deprecated, reason = "older clients use it")]
impl<H: ServerHandler> ServerHandler for Metered<H> {
    fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Request,
    ) -> impl Future<Output = Answer<CallToolResponse>> + Send + '_ {
        self.run(request, context)
    }

    async fn list_tools(&self, request: Page, context: Request) -> Answer<ListToolsResult> {
        let asked = request.as_ref().and_then(|page| page.cursor.clone());
        let page = self.handler.list_tools(request, context).await?;
        let next = page.next_cursor.as_deref();
        let all = self.paging().page(asked.as_deref(), &page.tools, next);
        let mut names = self.names();
        match all {
            Some(all) => {
                names.follow(all.iter().map(|name| &**name));
            }
            None => {
                for tool in &page.tools {
                    names.get_or_add(&tool.name);
                }
            }
        }
        drop(names);
        Ok(page)
    }

    fn negotiate_initialize(&self, request: &InitializeRequestParams) -> Answer<InitializeResult> {
        self.handler.negotiate_initialize(request)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.handler.supported_protocol_versions()
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.handler.accepted_subscription_filter(requested)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.handler.get_tool(name)
    }

    fn get_info(&self) -> ServerConfig {
        self.handler.get_info()
    }

    handed_on! {
        ping(context: Request) -> Answer<()>;
        initialize(request: InitializeRequestParams, context: Request) -> Answer<InitializeResult>;
        discover(context: Request) -> Answer<DiscoverResult>;
        complete(request: CompleteRequestParams, context: Request) -> Answer<CompleteResult>;
        set_level(request: SetLevelRequestParams, context: Request) -> Answer<()>;
        get_prompt(request: GetPromptRequestParams, context: Request) -> Answer<GetPromptResponse>;
        list_prompts(request: Page, context: Request) -> Answer<ListPromptsResult>;
        list_resources(request: Page, context: Request) -> Answer<ListResourcesResult>;
        list_resource_templates(request: Page, context: Request) -> Answer<ListResourceTemplatesResult>;
        read_resource(request: ReadResourceRequestParams, context: Request) -> Answer<ReadResourceResponse>;
        listen(context: SubscriptionContext) -> Answer<()>;
        subscribe(request: SubscribeRequestParams, context: Request) -> Answer<()>;
        unsubscribe(request: UnsubscribeRequestParams, context: Request) -> Answer<()>;
        on_custom_request(request: CustomRequest, context: Request) -> Answer<CustomResult>;
        on_cancelled(notification: CancelledNotificationParam, context: Notification) -> ();
        on_progress(notification: ProgressNotificationParam, context: Notification) -> ();
        on_initialized(context: Notification) -> ();
        on_roots_list_changed(context: Notification) -> ();
        on_custom_notification(notification: CustomNotification, context: Notification) -> ();
        get_task(request: GetTaskParams, context: Request) -> Answer<GetTaskResult>;
        update_task(request: UpdateTaskParams, context: Request) -> Answer<()>;
        cancel_task(request: CancelTaskParams, context: Request) -> Answer<()>;
        list_skills(request: Page, context: Request) -> Answer<ListSkillsResult>;
        get_skill(request: GetSkillRequestParams, context: Request) -> Answer<GetSkillResult>;
        read_resource_directory(request: ReadResourceDirectoryRequestParams, context: Request) -> Answer<ReadResourceDirectoryResult>;
    }
}
