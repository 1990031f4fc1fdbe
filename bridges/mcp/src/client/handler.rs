//! The methods of rmcp's client. Changes of the list of tools are followed; all others are only
//! passed on.

use super::MeteredClient;
use crate::hand_on::handed_on;
use rmcp::model::*;
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ClientHandler, ErrorData, RoleClient};
use std::future::Future;

type Request = RequestContext<RoleClient>;
type Notification = NotificationContext<RoleClient>;
type Answer<T> = Result<T, ErrorData>;

#[allow(deprecated, reason = "older servers use it")]
impl<H: ClientHandler> ClientHandler for MeteredClient<H> {
    async fn on_tool_list_changed(&self, context: Notification) {
        self.peer.attach(&context.peer);
        self.peer.list_changed().await;
        self.handler.on_tool_list_changed(context).await;
    }

    fn get_info(&self) -> ClientConfig {
        self.handler.get_info()
    }

    handed_on! {
        ping(context: Request) -> Answer<()>;
        create_message(params: CreateMessageRequestParams, context: Request) -> Answer<CreateMessageResult>;
        list_roots(context: Request) -> Answer<ListRootsResult>;
        create_elicitation(request: ElicitRequestParams, context: Request) -> Answer<ElicitResult>;
        on_custom_request(request: CustomRequest, context: Request) -> Answer<CustomResult>;
        on_cancelled(params: CancelledNotificationParam, context: Notification) -> ();
        on_progress(params: ProgressNotificationParam, context: Notification) -> ();
        on_logging_message(params: LoggingMessageNotificationParam, context: Notification) -> ();
        on_resource_updated(params: ResourceUpdatedNotificationParam, context: Notification) -> ();
        on_resource_list_changed(context: Notification) -> ();
        on_prompt_list_changed(context: Notification) -> ();
        on_subscriptions_acknowledged(params: SubscriptionsAcknowledgedNotificationParams, context: Notification) -> ();
        on_task_status(params: TaskStatusNotificationParams, context: Notification) -> ();
        on_custom_notification(notification: CustomNotification, context: Notification) -> ();
    }
}
